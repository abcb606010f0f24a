// SPDX-License-Identifier: MIT
#include "kvviz/engine/profile_work.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

std::vector<analysis::MemoryTier> tiers_beside(const ProfileSubject& subject,
                                               std::vector<analysis::MemoryTier> tiers) {
  analysis::MemoryTier& first = tiers.front();
  const int64_t weights = subject.weights.value_or(0);
  require(weights <= first.capacity, "the weights take ", weights, " bytes; ", first.name, " has ",
          first.capacity, ". Give a larger first tier, or smaller weights or none");
  first.capacity -= weights;
  return tiers;
}

}  // namespace

Profiled profiled(ProfileMemories memories, ProfileSubject subject, const ProfileWork& work) {
  Profiled done{.memories = std::move(memories), .subject = std::move(subject), .tokens = work.tokens};
  std::vector<int64_t> lengths = work.lengths;
  std::ranges::sort(lengths);
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  done.sizes = analysis::cache_sizes(done.subject.shape, {.tokens = work.tokens,
                                                          .lengths = std::move(lengths),
                                                          .memories = done.memories.memories,
                                                          .weights = done.subject.weights.value_or(0)});
  done.profile = analysis::cache_profile(done.subject.shape, done.memories.type,
                                         {work.tokens, work.block, work.first_tokens},
                                         tiers_beside(done.subject, done.memories.tiers), work.access);
  return done;
}

}  // namespace kvviz
