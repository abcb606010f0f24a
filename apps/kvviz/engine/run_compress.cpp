// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/compress_study.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/figures/compress_figures.hpp"
#include "kvviz/tables/compress_tables.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

nlohmann::ordered_json effective_options(const CompressOptions& o,
                                         std::span<const compress::Method> methods) {
  nlohmann::ordered_json effective;
  add_options(effective, o.texts);
  std::vector<std::string> names;
  for (const compress::Method& method : methods) names.push_back(method.text);
  effective.update({{"methods", names}, {"sides", o.sides}, {"prefix-tokens", o.prefix_tokens}});
  return effective;
}

/// The method with the fewest bytes that loses less than a limit, as a fact.
void add_smallest(std::vector<Fact>& facts, const analysis::CompressionStudy& s, double percent,
                  const std::string& key) {
  const analysis::CodecOutcome* best = smallest_within(s, percent);
  const std::string label = cat("Fewest bytes for less than ", percent, " % more perplexity");
  facts.push_back({key, best == nullptr ? Cell(Null{"no method does"}) : Cell(best->method), "", label});
  facts.push_back({key + "_ratio", tables::real(best == nullptr ? analysis::kNone : best->ratio()), "",
                   "  how many times smaller than f16"});
}

std::vector<Fact> facts_of(const analysis::CompressionStudy& s) {
  using tables::integer;
  using tables::real;
  const analysis::CodecOutcome& first = s.outcomes.front();
  std::vector<Fact> facts{
      {"texts", integer(s.texts), "", "Texts"},
      {"tokens", integer(s.tokens), "tokens", "Tokens of all texts"},
      {"sides", s.sides, "", "What is coded"},
      {"prefix", real(first.tokens), "tokens", "Tokens whose cache is coded, mean over the texts"},
      {"predictions", integer(first.predictions), "", "Predictions behind them"},
      {"full_ppl", real(s.full_ppl), "", "Their perplexity with the cache as it is"},
      {"full_nll", real(s.full_nll), "nats", "Their negative log-likelihood"},
      {"f16_bytes_per_token", real(first.f16_bytes / first.tokens), "bytes", "Cache of a token in f16"}};
  add_smallest(facts, s, 1, "smallest_1_percent");
  add_smallest(facts, s, 0.1, "smallest_0_1_percent");
  return facts;
}

int run(const CompressOptions& o) {
  Delivery delivery{.gates = check_output(o.output)};
  const std::vector<compress::Method> methods = methods_of(o);
  set_threads(o.call.threads);
  OpenedFolder opened = open_folder(o.model, o.call);
  const auto texts = read_texts(o.texts, *opened.tokenizer, opened.config, o.call.data);
  for (const TextInput& text : texts) prefix_of(o, text);
  const Runner runner = load_runner(std::move(opened));

  const analysis::CompressionStudy study = compress_texts(runner, texts, methods, o);
  const SubjectOrigin origin = origin_of_all(runner, texts);
  Result result{.command = "compress",
                .provenance = provenance_of(origin, o.call, effective_options(o, methods))};
  result.summary = facts_of(study);
  result.tables = {tables::compress_table(study), tables::compress_layers_table(study),
                   tables::compress_heads_table(study)};
  const std::string what = cat(short_name(origin.model), ", ", origin.text);
  if (!o.output.no_plots) delivery.figures = figures::compress_figures(study, what);
  delivery.heading = cat(origin.model, ", ", origin.text);
  delivery.subtitle = what;
  delivery.shown_tables = {"compress"};
  delivery.shown_rows = 60;
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_compress(const kvviz::CompressOptions& options) {
  return kvviz::guarded([&] { return kvviz::run(options); });
}
