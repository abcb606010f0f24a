// SPDX-License-Identifier: MIT
#include "kvviz/kernels/evicting_scan.hpp"

#include <cassert>

#include "kvviz/kernels/evicting_scan_group.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz::kernels {

EvictingScan::EvictingScan(const ScanShape& shape, std::vector<DecisionGroup> groups,
                           const ScanOptions& options)
    : shape_(shape), options_(options) {
  assert(shape.kv_heads > 0 && shape.query_heads % shape.kv_heads == 0 && shape.head_dim > 0);
  assert(shape.alibi_slopes.empty() || std::ssize(shape.alibi_slopes) == shape.query_heads);
  if (options.compare) comparisons_.resize(static_cast<size_t>(shape.query_heads));
  for (DecisionGroup& group : groups) {
    assert(!group.owners.empty() && group.rule != nullptr);
    groups_.push_back(std::make_unique<GroupScan>(shape, options, std::move(group), comparisons_));
  }
}

EvictingScan::~EvictingScan() = default;
EvictingScan::EvictingScan(EvictingScan&&) noexcept = default;
EvictingScan& EvictingScan::operator=(EvictingScan&&) noexcept = default;

void EvictingScan::advance(const ScanInput& input) {
  // A lone group runs here, so that its slot sets can be spread over the threads.
  if (groups_.size() == 1) {
    groups_.front()->advance(input, tokens_);
  } else {
    parallel_for(static_cast<int64_t>(groups_.size()),
                 [&](int64_t i) { groups_[static_cast<size_t>(i)]->advance(input, tokens_); });
  }
  tokens_ += input.tokens;
}

std::vector<const SlotSet*> EvictingScan::sets() const {
  std::vector<const SlotSet*> all;
  for (const auto& group : groups_) {
    for (const SlotSet& set : group->sets()) all.push_back(&set);
  }
  return all;
}

}  // namespace kvviz::kernels
