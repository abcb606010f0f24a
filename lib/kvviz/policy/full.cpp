// SPDX-License-Identifier: MIT
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

class Full : public kernels::EvictionRule {
  void after_step(const kernels::ScanStep&, std::span<kernels::SlotSet>) override {}
};

}  // namespace

PolicyInfo full_policy() {
  return {.name = "full",
          .summary = "nothing leaves",
          .rule = [](const RuleContext&) -> std::unique_ptr<kernels::EvictionRule> {
            return std::make_unique<Full>();
          },
          .metadata = &nothing_kept,
          .evicts = false,
          .by_attention = false};
}

}  // namespace kvviz::policy
