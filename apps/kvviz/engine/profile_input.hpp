// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kvviz/analysis/cache_profile.hpp"
#include "kvviz/options.hpp"

namespace kvviz {

/// What the command line says about memories, read before anything is opened.
struct ProfileMemories {
  analysis::CacheType type;
  std::vector<analysis::MemorySize> memories;
  std::vector<analysis::MemoryTier> tiers;
  int64_t l2 = 0;
};

/// Throws UsageError: a dtype, size or tier that is none, a name given twice.
ProfileMemories read_memories(const ProfileOptions& options);

/// Texts such as HBM:80GB:3.35TB/s. Throws UsageError that names `option`: no tier, a name given twice.
std::vector<analysis::MemoryTier> parse_tiers(const std::vector<std::string>& texts,
                                              const std::string& option);

/// The cache whose size is asked for, and where its numbers come from.
struct ProfileSubject {
  analysis::CacheShape shape;
  std::string name, architecture, config_sha256;
  std::optional<int64_t> context, parameters;  ///< of a model
  std::optional<int64_t> weights;              ///< bytes; absent: not asked for
};

/// Reads config.json alone, or takes the geometry of the command line. Throws UsageError, DataError.
ProfileSubject read_profile_subject(const ProfileOptions& options);

/// The arrays access/reads and access/attention_mass of a result of kvviz simulate. Throws DataError.
analysis::MeasuredAccess read_access(const std::filesystem::path& file);

}  // namespace kvviz
