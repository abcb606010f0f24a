// SPDX-License-Identifier: MIT
#include <cmath>

#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// -|k|: keys of small norm get much attention. Before RoPE, which keeps norms but for rounding: so the keys
/// of a token are equal in the first layer wherever they stand, and the rule for ties decides.
class SmallNorm : public Scorer {
 public:
  void observe(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    const kernels::HeadsView& keys =
        step.input.key_pre_rope.data != nullptr ? step.input.key_pre_rope : step.input.k;
    const float* const key = keys.at(set.owner().kv_head, step.row);
    double sum = 0;
    for (int64_t c = 0; c < step.shape.head_dim; ++c)
      sum += static_cast<double>(key[c]) * static_cast<double>(key[c]);
    set.scores().back() = -std::sqrt(sum);
  }
};

}  // namespace

PolicyInfo knorm_policy() {
  return {.name = "knorm",
          .summary = "the key of the largest norm leaves",
          .citation = "Devoto et al. 2024, arXiv 2406.11430",
          .scorer = [](const RuleContext&, size_t) -> std::unique_ptr<Scorer> {
            return std::make_unique<SmallNorm>();
          }};
}

}  // namespace kvviz::policy
