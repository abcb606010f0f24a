// SPDX-License-Identifier: MIT
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/similarity_arrays.hpp"
#include "kvviz/figures/similarity_figures.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tables/similarity_tables.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

using analysis::Half;
using analysis::SimilarityResult;
using analysis::SimilaritySide;
using tables::integer;
using tables::real;

const char* name_of(KeyBasis basis) {
  return basis == KeyBasis::pre_rope ? "pre_rope" : "post_rope";
}

Subject subject_of_model(const SimilarityOptions& o) {
  OpenedFolder opened = open_folder(o.model, o.call);
  const bool before_rope = o.key_basis == "pre_rope";
  require<UsageError>(!before_rope || opened.config.position == PositionKind::rope,
                      "--key-basis pre_rope: the model has no RoPE; leave the option out");
  const TextInput text = read_text(o.text, *opened.tokenizer, opened.config, o.call.data);
  const Runner runner = load_runner(std::move(opened), std::ssize(text.tokens.ids));
  RunRequest request{.score = false, .quiet = o.call.quiet};
  request.attention.statistics = true;
  request.attention.map_bins = o.map_bins;
  std::vector<at::Tensor> keys(runner.model.decoder.config().layers.size());
  if (before_rope)
    request.probe = [&keys](Site site, int layer, const at::Tensor& x) {
      if (site == Site::key_pre_rope) keys[static_cast<size_t>(layer)] = x[0].contiguous();
    };
  Subject subject = run_model(runner, text, request);
  if (!before_rope) return subject;
  for (size_t l = 0; l < keys.size(); ++l) subject.cache.layers[l].key = keys[l];
  subject.cache.basis = KeyBasis::pre_rope;
  return subject;
}

Subject subject_of_file(const SimilarityOptions& o) {
  Subject subject = open_cache(o.cache);
  const std::string held = name_of(subject.cache.basis);
  require<UsageError>(o.key_basis.empty() || o.key_basis == held, "--key-basis ", o.key_basis, ": ",
                      o.cache.string(), " holds ", held, " keys only; run the model in place of --cache");
  return subject;
}

SimilarityResult similarity_of(const Subject& subject, const SimilarityOptions& o) {
  std::vector<analysis::AttentionLayer> attention;
  for (size_t i = 0; i < subject.attention.size(); ++i) {
    const LayerKv& layer = subject.cache.layers[i];
    attention.push_back({.heads = subject.attention[i],
                         .kv_heads = layer.kv_heads(),
                         .queries = layer.tokens(),
                         .keys = layer.tokens(),
                         .window = layer.window});
  }
  return analysis::similarity(subject.cache.view(), attention, o.similarity);
}

/// Mean of the numbers that exist.
double mean_of(const std::vector<double>& values) {
  double sum = 0, count = 0;
  for (const double value : values)
    if (!std::isnan(value)) sum += value, ++count;
  return count > 0 ? sum / count : analysis::kNone;
}

void add_side(std::vector<Fact>& facts, const SimilarityResult& result, Half half) {
  const SimilaritySide& side = result.side(half);
  const std::string key = half == Half::key ? "k_" : "v_", of = half == Half::key ? "keys" : "values";
  std::vector<double> neighbours, r2, channels;
  for (const auto& pair : side.pairs)
    if (pair.second == pair.first + 1) neighbours.push_back(pair.alignment.cka.excess);
  for (const auto& p : side.predictions) r2.push_back(p.prediction.r2);
  for (const auto& row : side.channels) channels.push_back(row.excess);
  const char* no_layer =
      result.layer_reason.empty() ? result.cka_reason.c_str() : result.layer_reason.c_str();
  facts.push_back({key + "layer_excess", real(mean_of(neighbours), no_layer), "",
                   cat("CKA above chance of neighbouring layers, ", of, ", mean")});
  facts.push_back({key + "layer_r2", real(mean_of(r2), result.prediction_reason.c_str()), "",
                   cat("R^2 of a layer's ", of, " predicted from the layer before, held-out tokens, mean")});
  facts.push_back({key + "channel_excess", real(mean_of(channels), "nothing varies over the tokens"), "",
                   cat("Mean |r| of the channels of a head above chance, ", of)});
}

std::vector<Fact> facts_of(const Subject& subject, const SimilarityResult& result) {
  std::vector<Fact> facts = {
      {"layers", integer(result.layers), "", "Layers"},
      {"heads", integer(std::ssize(result.heads)), "", "KV heads of all layers"},
      {"tokens", integer(result.tokens), "tokens", "Tokens in the cache"},
      {"compared", integer(result.compared), "tokens",
       "Tokens that layers, heads and channels are compared on"},
      {"positions", integer(std::ssize(result.positions)), "tokens", "Tokens compared with each other"},
      {"key_basis", subject.cache.pairing == RopePairing::none ? "no RoPE" : name_of(subject.cache.basis), "",
       "Keys before or after RoPE"}};
  add_side(facts, result, Half::key);
  add_side(facts, result, Half::value);
  std::vector<double> attention;
  const auto n = std::ssize(result.query_heads);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i + 1; j < n; ++j) attention.push_back(result.attention[i * n + j]);
  facts.push_back({"attention_similarity",
                   real(mean_of(attention), n == 1 ? "one query head" : "a cache file holds no queries"), "",
                   "Query heads: 1 - Jensen-Shannon distance of where they look, mean over pairs"});
  facts.push_back({"savings", "upper bounds at no measured loss, not to be added up", "",
                   "What the table savings holds"});
  return facts;
}

nlohmann::ordered_json effective_options(const Subject& subject, const SimilarityOptions& o) {
  nlohmann::ordered_json effective;
  if (subject.has_model)
    add_options(effective, o.text);
  else
    effective["cache"] = o.cache.string();
  effective["key-basis"] = name_of(subject.cache.basis);
  analysis::SimilarityOptions::fields(
      o.similarity, [&](const auto& value, const char* name, const char*) { effective[name] = value; });
  if (o.similarity.layer) effective["layer"] = *o.similarity.layer;
  if (o.similarity.head) effective["head"] = *o.similarity.head;
  if (subject.has_model) effective["map-bins"] = o.map_bins;
  return effective;
}

int run(const SimilarityOptions& o) {
  Delivery delivery{.gates = check_output(o.output)};
  analysis::validate(o.similarity);
  set_threads(o.call.threads);
  const Subject subject = o.cache.empty() ? subject_of_model(o) : subject_of_file(o);
  const SimilarityResult similarity = similarity_of(subject, o);
  const auto& texts = subject.cache.tokens.text;
  Result result{.command = "analyze_similarity",
                .provenance = provenance_of(subject.origin, o.call, effective_options(subject, o))};
  result.summary = facts_of(subject, similarity);
  result.tables = tables::similarity_tables(similarity, texts);
  if (!o.output.no_plots) delivery.figures = figures::similarity_figures(similarity, texts);
  const std::string& model = subject.origin.model;
  delivery.heading = model.empty() ? subject.origin.text : cat(model, ", ", subject.origin.text);
  delivery.subtitle =
      cat(short_name(subject.origin.model), ", ", subject.origin.text, ", ", similarity.tokens, " tokens",
          subject.cache.pairing == RopePairing::none  ? ", no RoPE"
          : subject.cache.basis == KeyBasis::pre_rope ? ", keys before RoPE"
                                                      : "");
  delivery.shown_tables = {"savings"};
  delivery.write_arrays = [&](const auto& file) { write_similarity_arrays(file, similarity); };
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_analyze_similarity(const kvviz::SimilarityOptions& options) {
  return kvviz::guarded([&] { return kvviz::run(options); });
}
