// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_study.hpp"
#include "kvviz/io/result_file.hpp"

namespace kvviz {
namespace {

void add_access(io::ArrayFileWriter& writer, const analysis::SimulationStudy& study, const FirstText& text) {
  const auto sets = std::ssize(study.outcomes.front().sets), tokens = std::ssize(text.tokens);
  const std::string head = sets == int64_t{study.layers} * study.kv_heads ? "kv_head" : "query_head";
  const int64_t shape[] = {study.layers, sets / study.layers, tokens};
  writer.add({"access/attention_mass",
              {"layer", head, "token"},
              "",
              "first text, full cache: weight that later queries gave the key, aggregated over query heads"},
             shape, text.attention_mass.values);
  writer.add(
      {"access/reads",
       {"layer", head, "token"},
       "steps",
       "first text, full cache: later steps that gave the key at least max(0.01, 2/(t+1)) of their weight"},
      shape, text.reads.values);
}

}  // namespace

void write_simulate_arrays(const std::filesystem::path& file, const SimulateRun& run) {
  io::ArrayFileWriter writer(file, "simulate");
  if (run.first) add_access(writer, run.study, *run.first);
  if (!run.log.empty()) {
    const int64_t shape[] = {std::ssize(run.log) / 7, 7};
    writer.add({"evictions",
                {"eviction", "column"},
                "",
                "columns: row of the table simulate, text, layer, KV head, first query head, step, position"},
               shape, run.log);
  }
  writer.commit();
}

}  // namespace kvviz
