// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/sink_run.hpp"
#include "kvviz/io/result_file.hpp"

namespace kvviz {
namespace {

using analysis::SinkStudy;

constexpr const char* layer_name = "sinks/layer";
constexpr const char* head_name = "sinks/head";
constexpr const char* kv_head_name = "sinks/kv_head";
constexpr const char* tokens_name = "sinks/tokens";
constexpr const char* lengths_name = "sinks/lengths";
constexpr const char* curve_name = "sinks/alpha_by_length";

std::string count_name(size_t count) {
  return cat("sinks/", analysis::sink_counts[count]);
}

std::string score_name(const analysis::SinkMetricInfo& info) {
  return cat("sinks/score_", info.name);
}

template <class T>
std::vector<T> read_values(const std::filesystem::path& file, const std::string& name) {
  const io::NamedArray array = io::read_array(file, name);
  const auto* values = std::get_if<std::vector<T>>(&array.values);
  require(values != nullptr, file.string(), ": ", name, " has another type than kvviz sinks writes");
  return *values;
}

std::vector<int64_t> numbers(const SinkStudy& study, int analysis::HeadName::*member) {
  std::vector<int64_t> all;
  for (const auto& head : study.heads) all.push_back(head.*member);
  return all;
}

}  // namespace

void write_sink_arrays(const std::filesystem::path& path, const SinkRun& run) {
  const SinkStudy& study = run.study;
  io::ArrayFileWriter file(path, "sinks");
  const int64_t heads[] = {static_cast<int64_t>(study.heads.size())};
  const int64_t texts[] = {static_cast<int64_t>(study.prompts.size())};
  const int64_t lengths[] = {static_cast<int64_t>(study.lengths.size())};
  file.add({layer_name, {"row"}, "", "layer of a column of the scores"}, heads,
           numbers(study, &analysis::HeadName::layer));
  file.add({head_name, {"row"}, "", "query head"}, heads, numbers(study, &analysis::HeadName::head));
  file.add({kv_head_name, {"row"}, "", "KV head that it reads"}, heads,
           numbers(study, &analysis::HeadName::kv_head));
  std::vector<int64_t> tokens;
  for (const auto& prompt : study.prompts) tokens.push_back(prompt.tokens);
  file.add({tokens_name, {"text"}, "tokens", "tokens of a text"}, texts, tokens);
  file.add({lengths_name, {"length"}, "tokens", "lengths of the curve"}, lengths, study.lengths);
  const int64_t shape[] = {texts[0], heads[0]};
  const std::string source = run.synthetic ? "synthetic (random numbers, no model): " : "";
  for (size_t m = 0; m < analysis::sink_metric_count; ++m) {
    const auto& info = analysis::sink_metrics()[m];
    std::vector<double> all;
    for (const auto& prompt : study.prompts)
      all.insert(all.end(), prompt.score[m].begin(), prompt.score[m].end());
    file.add({score_name(info), {"text", "layer_and_head"}, "", source + info.label}, shape, all);
  }
  for (size_t c = 0; c < analysis::sink_counts.size(); ++c) {
    std::vector<double> all;
    for (const auto& prompt : study.prompts)
      all.insert(all.end(), prompt.counts[c].begin(), prompt.counts[c].end());
    if (all.empty()) continue;  // random scores have no keys
    file.add({count_name(c), {"text", "layer_and_head"}, "keys", "keys of a head that stand out"}, shape,
             all);
  }
  if (!study.lengths.empty()) {
    std::vector<double> all;
    for (const auto& prompt : study.prompts)
      for (const auto& row : prompt.alpha_at) all.insert(all.end(), row.begin(), row.end());
    const int64_t curve[] = {texts[0], lengths[0], heads[0]};
    file.add(
        {curve_name, {"text", "length", "layer_and_head"}, "", "alpha_k of the first tokens of the text"},
        curve, all);
  }
  file.commit();
}

SinkStudy read_sink_study(const std::filesystem::path& file) {
  const auto names = io::list_arrays(file);
  require(std::ranges::count(names, tokens_name) == 1, file.string(),
          " holds no sink scores; give the .h5 of a result of kvviz sinks");
  SinkStudy study;
  const auto layers = read_values<int64_t>(file, layer_name), heads = read_values<int64_t>(file, head_name),
             kv_heads = read_values<int64_t>(file, kv_head_name);
  require(heads.size() == layers.size() && kv_heads.size() == layers.size(), file.string(),
          ": layers and heads differ in number");
  for (size_t i = 0; i < layers.size(); ++i)
    study.heads.push_back(
        {static_cast<int>(layers[i]), static_cast<int>(heads[i]), static_cast<int>(kv_heads[i])});
  study.lengths = read_values<int64_t>(file, lengths_name);
  const auto tokens = read_values<int64_t>(file, tokens_name);
  for (size_t i = 0; i < tokens.size(); ++i)
    study.prompts.push_back({.name = cat("text ", i), .text = static_cast<int64_t>(i), .tokens = tokens[i]});
  const auto take = [&](const std::vector<double>& all, size_t row) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(row * layers.size());
    return std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(layers.size()));
  };
  const auto matrix = [&](const std::string& name) {
    auto all = read_values<double>(file, name);
    require(all.size() == tokens.size() * layers.size(), file.string(), ": ", name, " has ", all.size(),
            " values, expected ", tokens.size() * layers.size());
    return all;
  };
  for (size_t m = 0; m < analysis::sink_metric_count; ++m) {
    const auto all = matrix(score_name(analysis::sink_metrics()[m]));
    for (size_t i = 0; i < tokens.size(); ++i) study.prompts[i].score[m] = take(all, i);
  }
  for (size_t c = 0; c < analysis::sink_counts.size(); ++c) {
    if (std::ranges::count(names, count_name(c)) == 0) continue;
    const auto all = matrix(count_name(c));
    for (size_t i = 0; i < tokens.size(); ++i) study.prompts[i].counts[c] = take(all, i);
  }
  if (study.lengths.empty()) return study;
  const auto curve = read_values<double>(file, curve_name);
  require(curve.size() == tokens.size() * study.lengths.size() * layers.size(), file.string(), ": ",
          curve_name, " has another size than the texts, lengths and heads");
  for (size_t i = 0; i < tokens.size(); ++i)
    for (size_t n = 0; n < study.lengths.size(); ++n)
      study.prompts[i].alpha_at.push_back(take(curve, i * study.lengths.size() + n));
  return study;
}

}  // namespace kvviz
