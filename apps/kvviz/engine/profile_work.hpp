// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/engine/profile_input.hpp"

namespace kvviz {

/// A cache in numbers: sizes at several lengths and in every dtype, and the tiers that hold its blocks.
struct Profiled {
  ProfileMemories memories;
  ProfileSubject subject;
  int64_t tokens = 0;
  analysis::CacheSizes sizes;
  analysis::CacheProfile profile;
  bool measured() const { return profile.placements.size() > 1; }
};

struct ProfileWork {
  int64_t tokens = 0;            ///< length of each sequence
  std::vector<int64_t> lengths;  ///< of the projection, in any order
  int64_t block = 16;            ///< tokens of a block
  int64_t first_tokens = 4;      ///< blocks of these count as the newest
  const analysis::MeasuredAccess* access = nullptr;
};

/// The weights, where the subject has any, stay in the first tier. Throws UsageError and DataError as
/// analysis::cache_sizes() and cache_profile() do, DataError where the weights do not fit.
Profiled profiled(ProfileMemories memories, ProfileSubject subject, const ProfileWork& work);

}  // namespace kvviz
