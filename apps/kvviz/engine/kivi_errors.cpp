// SPDX-License-Identifier: MIT
#include "kvviz/engine/kivi_errors.hpp"

#include "kvviz/compress/codec.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/eval/quantisation_errors.hpp"

namespace kvviz {
namespace {

using compress::Side;
constexpr int64_t group = 32;  ///< as in the paper

ChangeKv rounding(const compress::Method& method, Side side) {
  return [method, side](const at::Tensor& key, const at::Tensor& value) {
    return side == Side::key ? std::pair{method.codec->code(key, side).restored, value}
                             : std::pair{key, method.codec->code(value, side).restored};
  };
}

void add(analysis::KiviErrors& into, const AttentionErrors& errors, double weight) {
  into.error += weight * (into.side == "keys" ? errors.key_error : errors.value_error);
  into.weight_error += weight * errors.weight_error;
  into.output_error += weight * errors.output_error;
}

}  // namespace

analysis::KiviStudy kivi_errors(const Runner& runner, std::span<const TextInput> texts, int64_t bits,
                                bool quiet) {
  analysis::KiviStudy study{.bits = bits, .group = group};
  std::vector<ChangeKv> changes;
  const size_t layers = runner.model.decoder.config().layers.size();
  for (const Side side : {Side::key, Side::value}) {
    for (const char* axis : {"token", "channel"}) {
      changes.push_back(rounding(compress::parse_method(cat("rtn_", axis, ":", bits, ":", group)), side));
      study.means.push_back({.side = side == Side::key ? "keys" : "values", .axis = axis});
      for (size_t l = 0; l < layers; ++l) {
        study.layers.push_back(study.means.back());
        study.layers.back().layer = static_cast<int>(l);
      }
    }
  }
  Progress progress("errors of rounding", std::ssize(texts), quiet);
  const double percent = 100.0 / static_cast<double>(texts.size());
  for (size_t t = 0; t < texts.size(); ++t) {
    const auto& ids = texts[t].tokens.ids;
    const auto errors = attention_errors(runner.model.decoder, ids, std::ssize(ids) / 2, changes);
    for (size_t c = 0; c < changes.size(); ++c) {
      for (size_t l = 0; l < layers; ++l) {
        add(study.layers[c * layers + l], errors[c][l], percent);
        add(study.means[c], errors[c][l], percent / static_cast<double>(layers));
      }
    }
    for (const AttentionErrors& layer : errors.front())
      study.sparsity += percent * layer.sparsity / static_cast<double>(layers);
    progress.update(static_cast<int64_t>(t) + 1);
  }
  return study;
}

}  // namespace kvviz
