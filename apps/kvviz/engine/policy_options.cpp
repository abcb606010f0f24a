// SPDX-License-Identifier: MIT
#include "kvviz/engine/policy_options.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

using policy::Policy;

/// An option, and whether a policy reads it.
struct PolicyOption {
  const char* name;
  bool (*read_by)(const Policy&);
};

/// By itself, or as the scorer of adakv.
bool scores_as(const Policy& policy, std::string_view scorer) {
  return policy.name == scorer || policy.name == cat("adakv:", scorer);
}

bool chooses_by_last_queries(const Policy& policy) {
  return policy.info.observation;
}

bool is_expected_attention(const Policy& policy) {
  return scores_as(policy, "expected_attention");
}

constexpr PolicyOption eviction_options[] = {
    {"--sinks", [](const Policy& p) { return p.info.evicts && !(p.info.newest && p.info.sinks == 0); }},
    {"--recent", [](const Policy& p) { return p.info.evicts && !p.info.newest; }},
    {"--per-query-head", [](const Policy& p) { return p.info.evicts; }},
    {"--observation", chooses_by_last_queries},
    {"--pool-kernel", chooses_by_last_queries},
    {"--pool", chooses_by_last_queries},
    {"--pyramid-beta", [](const Policy& p) { return p.info.pyramid; }},
    {"--floor", [](const Policy& p) { return p.info.name == "adakv"; }},
    {"--lag", [](const Policy& p) { return scores_as(p, "lagkv"); }},
    {"--future", is_expected_attention},
    {"--epsilon", is_expected_attention},
    {"--refresh", is_expected_attention}};

void check(const PolicyOption& option, std::span<const Policy> run, const CallOptions& call) {
  if (std::ranges::count(call.chosen, option.name) == 0 || std::ranges::any_of(run, option.read_by)) return;
  std::string readers;
  for (const policy::PolicyInfo& info : policy::policies())
    if (option.read_by(policy::find_policy(info.name)))
      readers.append(readers.empty() ? "" : ", ").append(info.name);
  throw UsageError(cat(option.name, " has no effect: no policy that runs reads it; these do: ", readers));
}

}  // namespace

void check_policy_options(std::span<const Policy> run, const CallOptions& call) {
  for (const PolicyOption& option : eviction_options) check(option, run, call);
}

void check_seed_of_policies(std::span<const Policy> run, const CallOptions& call) {
  check({"--seed", [](const Policy& p) { return scores_as(p, "random"); }}, run, call);
}

}  // namespace kvviz
