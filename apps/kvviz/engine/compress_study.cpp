// SPDX-License-Identifier: MIT
#include "kvviz/engine/compress_study.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/eval/coded_cache.hpp"
#include "kvviz/eval/compare.hpp"

namespace kvviz {
namespace {

using compress::Side;
using Clock = std::chrono::steady_clock;

double relative_error(const at::Tensor& restored, const at::Tensor& x) {
  const double size = x.to(at::kDouble).square().sum().item<double>();
  const double off = restored.to(at::kDouble).sub(x).square().sum().item<double>();
  return size > 0 ? std::sqrt(off / size) : std::sqrt(off);
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// "hadamard:rtn_token" of "hadamard:rtn_token:4": the method without its numbers.
std::string family_of(const std::string& method) {
  for (size_t colon = method.find(':'); colon != std::string::npos; colon = method.find(':', colon + 1))
    if (colon + 1 < method.size() && method[colon + 1] >= '0' && method[colon + 1] <= '9')
      return method.substr(0, colon);
  return method;
}

/// One method over all texts, added up text by text.
struct OutcomeSum {
  std::vector<PairedScores> scores;
  std::vector<analysis::CodecLayer> layers;
  double payload = 0, metadata = 0, f16 = 0, tokens = 0, seconds = 0;
};

/// The codec of each side: the method's, or f16 for what is not to be coded.
struct Sides {
  const compress::Codec* key;
  const compress::Codec* value;
};

std::vector<LayerKv> coded_layers(const KvCache& cache, const Sides& codecs, OutcomeSum& sum) {
  std::vector<LayerKv> coded;
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    const LayerKv& layer = cache.layers[l];
    const auto start = Clock::now();
    const compress::Coded key = codecs.key->code(layer.key, Side::key);
    const compress::Coded value = codecs.value->code(layer.value, Side::value);
    sum.seconds += std::chrono::duration<double>(Clock::now() - start).count();
    if (sum.layers.size() <= l) sum.layers.push_back({.layer = static_cast<int>(l)});
    analysis::CodecLayer& into = sum.layers[l];
    into.key_error += relative_error(key.restored, layer.key);
    into.value_error += relative_error(value.restored, layer.value);
    into.bytes += key.bytes.total() + value.bytes.total();
    sum.payload += key.bytes.payload + value.bytes.payload;
    sum.metadata += key.bytes.metadata + value.bytes.metadata;
    sum.f16 += static_cast<double>(2 * (layer.key.numel() + layer.value.numel()));
    coded.push_back({.key = key.restored,
                     .value = value.restored,
                     .query_heads = layer.query_heads,
                     .window = layer.window});
  }
  sum.tokens += static_cast<double>(cache.layers.front().tokens());
  return coded;
}

void add_errors(OutcomeSum& sum, const CodedRun& run) {
  for (size_t l = 0; l < run.output_error.size(); ++l) {
    analysis::CodecLayer& into = sum.layers[l];
    into.head_output_error.resize(run.output_error[l].size(), 0);
    for (size_t h = 0; h < run.output_error[l].size(); ++h)
      into.head_output_error[h] += run.output_error[l][h];
  }
}

analysis::CodecOutcome outcome_of(const compress::Method& method, OutcomeSum sum) {
  const auto texts = static_cast<double>(sum.scores.size());
  const QualityLoss loss = quality_loss(sum.scores);
  analysis::CodecOutcome o{.method = method.text,
                           .family = family_of(method.text),
                           .summary = std::string(method.info->summary),
                           .texts = std::ssize(sum.scores),
                           .predictions = loss.tokens,
                           .nll = loss.nll,
                           .delta_nll = loss.delta_nll,
                           .delta_nll_se = loss.delta_nll_se,
                           .ppl = loss.ppl,
                           .delta_ppl = loss.delta_ppl,
                           .delta_ppl_se = loss.delta_ppl_se,
                           .kl = loss.kl,
                           .kl_max = loss.kl_max,
                           .top1_agreement = loss.top1_agreement,
                           .key_error = 0,
                           .value_error = 0,
                           .output_error = 0,
                           .payload_bytes = sum.payload / texts,
                           .metadata_bytes = sum.metadata / texts,
                           .f16_bytes = sum.f16 / texts,
                           .tokens = sum.tokens / texts,
                           .code_seconds = sum.seconds,
                           .layers = std::move(sum.layers)};
  const auto layers = static_cast<double>(o.layers.size());
  for (analysis::CodecLayer& layer : o.layers) {
    for (double& error : layer.head_output_error) error /= texts;
    layer.output_error = mean(layer.head_output_error);
    for (double* const sums : {&layer.key_error, &layer.value_error, &layer.bytes}) *sums /= texts;
    o.key_error += layer.key_error;
    o.value_error += layer.value_error;
    o.output_error += layer.output_error;
  }
  for (double* const sums : {&o.key_error, &o.value_error, &o.output_error}) *sums /= layers;
  return o;
}

std::string sides_of(const CompressOptions& o) {
  return o.sides == "both" ? "keys and values" : o.sides;
}

}  // namespace

std::vector<compress::Method> methods_of(const CompressOptions& o) {
  std::vector<compress::Method> chosen;
  const auto add = [&](const std::string& text) {
    require<UsageError>(std::ranges::count(chosen, text, &compress::Method::text) == 0, "--methods names ",
                        text, " twice");
    chosen.push_back(compress::parse_method(text));
  };
  const auto add_sweep = [&](const compress::MethodInfo& info) {
    for (const std::string_view arguments : info.sweep)
      add(cat(info.name, arguments.empty() ? "" : ":", arguments));
  };
  if (o.methods.empty()) {
    for (const compress::MethodInfo& info : compress::methods()) add_sweep(info);
    return chosen;
  }
  for (const std::string& text : o.methods) {
    if (!o.sweep) {
      add(text);
      continue;
    }
    const auto all = compress::methods();
    const auto found = std::ranges::find(all, text, &compress::MethodInfo::name);
    require<UsageError>(found != all.end(), "--sweep tries the arguments itself; got --methods ", text,
                        ", expected a name without arguments");
    add_sweep(*found);
  }
  return chosen;
}

int64_t prefix_of(const CompressOptions& o, const TextInput& text) {
  const auto tokens = std::ssize(text.tokens.ids);
  const int64_t prefix = o.prefix_tokens > 0 ? o.prefix_tokens : tokens / 2;
  require<UsageError>(prefix >= 1 && prefix <= tokens - 2, "--prefix-tokens ", o.prefix_tokens,
                      " leaves nothing to predict of ", text.description, ", which has ", tokens,
                      " tokens; expected at most ", tokens - 2);
  return prefix;
}

analysis::CompressionStudy compress_texts(const Runner& runner, std::span<const TextInput> texts,
                                          std::span<const compress::Method> methods,
                                          const CompressOptions& o) {
  const Decoder& decoder = runner.model.decoder;
  const compress::Method half = compress::parse_method("f16");
  std::vector<OutcomeSum> sums(methods.size());
  analysis::CompressionStudy study{.layers = static_cast<int>(decoder.config().layers.size()),
                                   .query_heads = static_cast<int>(decoder.config().layers.front().heads),
                                   .kv_heads = static_cast<int>(decoder.config().layers.front().kv_heads),
                                   .texts = std::ssize(texts),
                                   .sides = sides_of(o)};
  Progress progress("coding the caches", std::ssize(texts) * std::ssize(methods), o.call.quiet);
  int64_t done = 0;
  for (const TextInput& text : texts) {
    const SplitText split(decoder, text.tokens.ids, prefix_of(o, text));
    study.tokens += std::ssize(text.tokens.ids);
    std::vector<at::Tensor> hidden;
    for (size_t m = 0; m < methods.size(); ++m) {
      const Sides codecs{o.sides == "values" ? half.codec.get() : methods[m].codec.get(),
                         o.sides == "keys" ? half.codec.get() : methods[m].codec.get()};
      const CodedRun run = split.run(coded_layers(split.cache(), codecs, sums[m]));
      add_errors(sums[m], run);
      hidden.push_back(run.hidden);
      progress.update(++done);
    }
    auto scores = compare_predictions(decoder, split.hidden(), hidden, split.continuation());
    for (size_t m = 0; m < methods.size(); ++m) sums[m].scores.push_back(std::move(scores[m]));
  }
  for (size_t m = 0; m < methods.size(); ++m) {
    study.outcomes.push_back(outcome_of(methods[m], std::move(sums[m])));
    if (o.no_timings) study.outcomes.back().code_seconds = analysis::kNone;
  }
  study.full_nll = study.outcomes.front().nll - study.outcomes.front().delta_nll;
  study.full_ppl = study.outcomes.front().ppl - study.outcomes.front().delta_ppl;
  analysis::mark_frontier(study.outcomes);
  return study;
}

}  // namespace kvviz
