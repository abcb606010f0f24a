// SPDX-License-Identifier: MIT
#pragma once
#include <cmath>
#include <limits>
#include <string>

#include "kvviz/report/result.hpp"
#include "support/errors.hpp"

namespace kvviz::test {

inline Table layers_table() {
  return {.name = "layers",
          .columns = {{"layer", "", ColumnType::integer}, {"hoyer_k"}, {"kind", "", ColumnType::text}},
          .key = {"layer"},
          .rows = {{int64_t{0}, 0.25, "local"}, {int64_t{1}, 0.5, "sink"}, {int64_t{2}, 0.3, "a,\"b\"\n"}}};
}

inline Table policies_table() {
  return {.name = "policies",
          .columns = {{"policy", "", ColumnType::text},
                      {"budget"},
                      {"delta_ppl"},
                      {"recall", "", ColumnType::real}},
          .key = {"policy", "budget"},
          .rows = {{"h2o", 0.25, 0.73, 0.9},
                   {"h2o", 0.5, 0.1, std::nan("")},
                   {"window", 0.25, 4.5, Null{"no demand"}},
                   {"snap@kv", 0.25, 1.5, 0.5}}};
}

inline Result example_result() {
  Result result{
      .command = "analyze", .summary = {}, .tables = {layers_table(), policies_table()}, .figures = {}};
  result.provenance = {
      {"version", "0.1.0"}, {"options", {{"seed", 1}, {"focus", {"layers", "heads"}}}}, {"scale", 0.1}};
  result.summary = {{"sink_rate", 0.35, "", "Heads that look at the first token"},
                    {"tokens", int64_t{512}, "tokens", "Length"},
                    {"entropy", Null{"one token only"}, "nats", "Mean entropy"},
                    {"spread", std::numeric_limits<double>::infinity(), "", "Spread"},
                    {"model", std::string("demo"), "", "Model"}};
  result.figures = {{"graphs/layers/layer_statistics.png", "Layers"}};
  result.arrays = "results/analyze.h5";
  return result;
}

}  // namespace kvviz::test
