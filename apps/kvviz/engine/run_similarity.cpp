// SPDX-License-Identifier: MIT
#include <cmath>
#include <numeric>
#include <optional>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/batch_output.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/similarity_arrays.hpp"
#include "kvviz/figures/similarity_figures.hpp"
#include "kvviz/stats/mean.hpp"
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

constexpr const char* command = "analyze_similarity";

const char* name_of(KeyBasis basis) {
  return basis == KeyBasis::pre_rope ? "pre_rope" : "post_rope";
}

Subject subject_of_text(const TextRun::Work& text, const SimilarityOptions& o) {
  const bool before_rope = o.key_basis == "pre_rope";
  RunRequest request{.score = false, .quiet = text.quiet};
  request.attention.statistics = true;
  request.attention.map_bins = o.map_bins;
  std::vector<at::Tensor> keys(text.runner.model.decoder.config().layers.size());
  if (before_rope)
    request.probe = [&keys](Site site, int layer, const at::Tensor& x) {
      if (site == Site::key_pre_rope) keys[static_cast<size_t>(layer)] = x[0].contiguous();
    };
  Subject subject = run_model(text.runner, text.text, request);
  if (!before_rope) return subject;
  for (size_t l = 0; l < keys.size(); ++l) subject.cache.layers[l].key = keys[l];
  subject.cache.basis = KeyBasis::pre_rope;
  return subject;
}

Subject subject_of_file(const SimilarityOptions& o) {
  CacheRequest request;
  request.needs_queries = o.map_bins != SimilarityOptions{}.map_bins;
  request.quiet = o.call.quiet;
  request.attention.statistics = true;
  request.attention.map_bins = o.map_bins;
  Subject subject = measure_cache(o.cache, request);
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
  facts.push_back({key + "layer_excess", real(stats::mean_over(neighbours), no_layer), "",
                   cat("CKA above chance of neighbouring layers, ", of, ", mean")});
  facts.push_back({key + "layer_r2", real(stats::mean_over(r2), result.prediction_reason.c_str()), "",
                   cat("R^2 of a layer's ", of, " predicted from the layer before, held-out tokens, mean")});
  facts.push_back({key + "channel_excess", real(stats::mean_over(channels), "nothing varies over the tokens"),
                   "", cat("Mean |r| of the channels of a head above chance, ", of)});
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
  facts.push_back(
      {"attention_similarity",
       real(stats::mean_over(attention), n == 1 ? "one query head" : "a cache file holds no queries"), "",
       "Query heads: 1 - Jensen-Shannon distance of where they look, mean over pairs"});
  facts.push_back({"savings", "upper bounds at no measured loss, not to be added up", "",
                   "What the table savings holds"});
  return facts;
}

nlohmann::ordered_json effective_options(const SimilarityOptions& o, KeyBasis basis) {
  nlohmann::ordered_json effective;
  if (o.cache.empty())
    add_text_options(effective, o.texts);
  else
    effective["cache"] = o.cache.string();
  effective["key-basis"] = name_of(basis);
  analysis::SimilarityOptions::fields(
      o.similarity, [&](const auto& value, const char* name, const char*) { effective[name] = value; });
  if (o.similarity.layer) effective["layer"] = *o.similarity.layer;
  if (o.similarity.head) effective["head"] = *o.similarity.head;
  effective["map-bins"] = o.map_bins;
  return effective;
}

BatchLayout similarity_layout() {
  using plot::colours::key;
  using plot::colours::value;
  BatchLayout layout;
  layout.over.ranges = {{.fact = "attention_similarity"}};
  layout.over.tables = {{.name = "savings"},
                        {.name = "layers", .left_out = {"group", "nearest"}},
                        {.name = "layer_pairs"},
                        {.name = "layer_prediction", .kept = {"from"}},
                        {.name = "heads", .left_out = {"group", "nearest_layer", "nearest_head"}},
                        {.name = "channels"},
                        {.name = "query_heads", .left_out = {"nearest_layer", "nearest_head"}}};
  layout.facts = {
      {"k_layer_excess", "Neighbouring layers, keys: CKA", "0 chance .. 1 same", {}, 1},
      {"v_layer_excess", "Neighbouring layers, values: CKA", "0 chance .. 1 same", {}, 1},
      {"attention_similarity", "Query heads: where they look", "0 nothing in common .. 1 same", 0, 1},
      {"k_layer_r2", "Keys predicted from the layer before: R²", "R²", {}, 1},
      {"v_layer_r2", "Values predicted from the layer before: R²", "R²", {}, 1},
      {"k_channel_excess", "Channels of a head, keys: mean |r|", "0 chance .. 1 same"}};
  const auto halves = [](const char* table, const char* column) -> std::vector<BatchLayout::Curve> {
    return {{{table, column, "keys"}, "keys", key}, {{table, column, "values"}, "values", value}};
  };
  layout.layers = {
      {"With the most similar other layer", "CKA above chance", halves("layers", "excess")},
      {"Predicted from the layer before", "R², held-out tokens", halves("layer_prediction", "r2")}};
  const char* alike = "CKA above chance";
  layout.heads = {
      {{"heads", "excess", "keys"}, "head", "Keys: the most similar other head", "KV head", alike},
      {{"heads", "excess", "values"}, "head", "Values: the most similar other head", "KV head", alike},
      {{"channels", "excess", "keys"}, "head", "Keys: channels of the head", "KV head", "|r| above chance"},
      {{"query_heads", "mean_similarity"},
       "head",
       "Query heads: similarity to the others",
       "query head",
       "1 - JS distance"}};
  return layout;
}

Result result_of(const Subject& subject, const SimilarityResult& similarity) {
  return {.command = command,
          .summary = facts_of(subject, similarity),
          .tables = tables::similarity_tables(similarity, subject.cache.tokens.text),
          .figures = {}};
}

int deliver_one(const Subject& subject, const SimilarityOptions& o, std::vector<Gate> gates) {
  const SimilarityResult similarity = similarity_of(subject, o);
  Delivery delivery{.gates = std::move(gates)};
  Result result = result_of(subject, similarity);
  result.provenance = provenance_of(subject.origin, o.call, effective_options(o, subject.cache.basis));
  if (!o.output.no_plots)
    delivery.figures = figures::similarity_figures(similarity, subject.cache.tokens.text);
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

int run_texts(const SimilarityOptions& o, std::vector<Gate> gates) {
  TextRun texts(
      {.command = command, .call = o.call, .model = o.model, .texts = o.texts, .out = o.output.out});
  const bool before_rope = o.key_basis == "pre_rope";
  require<UsageError>(!before_rope || texts.config().position == PositionKind::rope,
                      "--key-basis pre_rope: the model has no RoPE; leave the option out");
  const bool one_text = texts.plan_texts() == 1;
  const BatchLayout layout = similarity_layout();
  std::optional<Subject> one;
  texts.measure({.doing = "comparing what the texts store"}, [&](const TextRun::Work& text) {
    Subject subject = subject_of_text(text, o);
    if (!one_text) return text_record(result_of(subject, similarity_of(subject, o)), layout);
    one = std::move(subject);
    return nlohmann::json();
  });
  if (one) return deliver_one(*one, o, std::move(gates));
  if (texts.only_a_shard()) return 0;
  return deliver_over_texts(
      texts, layout,
      {.command = command,
       .call = o.call,
       .output = o.output,
       .gates = std::move(gates),
       .options = effective_options(o, before_rope ? KeyBasis::pre_rope : KeyBasis::post_rope),
       .shown_tables = {"savings_over_texts"}});
}

int run(const SimilarityOptions& o) {
  std::vector<Gate> gates = check_output(o.output, draws(o.texts));
  analysis::validate(o.similarity);
  set_threads(o.call.threads);
  if (o.cache.empty()) return run_texts(o, std::move(gates));
  return deliver_one(subject_of_file(o), o, std::move(gates));
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_analyze_similarity(const kvviz::SimilarityOptions& options) {
  return kvviz::guarded([&] { return kvviz::run(options); });
}
