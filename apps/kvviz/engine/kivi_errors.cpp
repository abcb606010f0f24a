// SPDX-License-Identifier: MIT
#include "kvviz/engine/kivi_errors.hpp"

#include <array>

#include "kvviz/compress/codec.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

using compress::Side;
constexpr int64_t group = 32;  ///< as in the paper

struct Rounding {
  Side side;
  const char* axis;
};
constexpr std::array<Rounding, 4> roundings{
    {{Side::key, "token"}, {Side::key, "channel"}, {Side::value, "token"}, {Side::value, "channel"}}};

ChangeKv change_of(const Rounding& rounding, int64_t bits) {
  const auto method = compress::parse_method(cat("rtn_", rounding.axis, ":", bits, ":", group));
  return [method, side = rounding.side](const at::Tensor& key, const at::Tensor& value) {
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

std::vector<std::vector<AttentionErrors>> kivi_errors(const Decoder& decoder, std::span<const int32_t> ids,
                                                      int64_t bits) {
  std::vector<ChangeKv> changes;
  for (const Rounding& rounding : roundings) changes.push_back(change_of(rounding, bits));
  return attention_errors(decoder, ids, std::ssize(ids) / 2, changes);
}

analysis::KiviStudy kivi_study(int64_t bits, size_t layers) {
  analysis::KiviStudy study{.bits = bits, .group = group};
  for (const Rounding& rounding : roundings) {
    study.means.push_back({.side = rounding.side == Side::key ? "keys" : "values", .axis = rounding.axis});
    for (size_t l = 0; l < layers; ++l) {
      study.layers.push_back(study.means.back());
      study.layers.back().layer = static_cast<int>(l);
    }
  }
  return study;
}

void add_text(analysis::KiviStudy& study, std::span<const std::vector<AttentionErrors>> errors,
              int64_t texts) {
  const double percent = 100.0 / static_cast<double>(texts);
  const size_t layers = study.layers.size() / study.means.size();
  for (size_t c = 0; c < study.means.size(); ++c) {
    for (size_t l = 0; l < layers; ++l) {
      add(study.layers[c * layers + l], errors[c][l], percent);
      add(study.means[c], errors[c][l], percent / static_cast<double>(layers));
    }
  }
  for (const AttentionErrors& layer : errors.front())
    study.sparsity += percent * layer.sparsity / static_cast<double>(layers);
}

}  // namespace kvviz
