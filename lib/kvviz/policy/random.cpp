// SPDX-License-Identifier: MIT
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// splitmix64 (Steele, Lea, Flood 2014): a bijection that scrambles its argument.
uint64_t scramble(uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// A draw for each key that depends on seed, layer, head and position alone: what is held is an even sample
/// of all keys seen.
class Draw : public Scorer {
 public:
  Draw(const RuleContext& context, const kernels::SlotOwner& owner)
      : stream_(scramble(scramble(context.options.seed ^ scramble(static_cast<uint64_t>(context.layer))) ^
                         static_cast<uint64_t>(owner.first_query_head))) {}
  void observe(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    set.scores().back() = static_cast<double>(scramble(stream_ ^ static_cast<uint64_t>(step.position)) >> 11);
  }

 private:
  uint64_t stream_;
};

}  // namespace

PolicyInfo random_policy() {
  return {.name = "random",
          .summary = "an even sample of all keys seen stays",
          .scorer = [](const RuleContext& context, size_t owner) -> std::unique_ptr<Scorer> {
            return std::make_unique<Draw>(context, context.owners[owner]);
          },
          .metadata = &positions_kept,
          .by_attention = false};
}

}  // namespace kvviz::policy
