// SPDX-License-Identifier: MIT
#pragma once
#include <span>

#include "kvviz/options.hpp"
#include "kvviz/policy/policy.hpp"

namespace kvviz {

/// Throws UsageError, naming the policies that would, for an option of EvictionOptions that was chosen and
/// that none of `run` reads.
void check_policy_options(std::span<const policy::Policy> run, const CallOptions& call);

/// The same of --seed, which the random policy draws by.
void check_seed_of_policies(std::span<const policy::Policy> run, const CallOptions& call);

}  // namespace kvviz
