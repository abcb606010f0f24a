// SPDX-License-Identifier: MIT
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// The older, the lower.
class Age : public Scorer {
  void observe(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    set.scores().back() = static_cast<double>(step.position);
  }
};

std::unique_ptr<Scorer> age(const RuleContext&, size_t) {
  return std::make_unique<Age>();
}

int64_t all(int64_t budget) {
  return budget;
}

}  // namespace

PolicyInfo window_policy() {
  return {.name = "window",
          .summary = "the oldest key leaves",
          .recent = &all,
          .scorer = &age,
          .metadata = &nothing_kept,
          .by_attention = false,
          .newest = true};
}

PolicyInfo streaming_llm_policy() {
  return {.name = "streaming_llm",
          .summary = "the oldest key behind the first tokens leaves",
          .citation = "Xiao et al. 2023, arXiv 2309.17453",
          .sinks = 4,
          .recent = &all,
          .scorer = &age,
          .metadata = &nothing_kept,
          .by_attention = false,
          .newest = true};
}

}  // namespace kvviz::policy
