// SPDX-License-Identifier: MIT
#include "kvviz/engine/cache_plan.hpp"

#include <algorithm>
#include <array>

#include "kvviz/core/error.hpp"
#include "kvviz/core/trimmed.hpp"
#include "kvviz/report/nearest.hpp"

namespace kvviz {
namespace {

constexpr std::array<std::string_view, 3> swept_budgets{"0.75", "0.5", "0.25"};
/// One of each kind: by position, by accumulated weight, by the last queries' weight, by the keys alone.
constexpr std::array<std::string_view, 4> swept_policies{"streaming_llm", "h2o", "snapkv", "keydiff"};
constexpr std::array<std::string_view, 5> swept_pairs{"streaming_llm:0.5 + q8_0", "streaming_llm:0.25 + q8_0",
                                                      "streaming_llm:0.25 + q4_0", "h2o:0.25 + q8_0",
                                                      "h2o:0.25 + q4_0"};

std::vector<std::string_view> parts_of(std::string_view text, char sign) {
  std::vector<std::string_view> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(sign, at), text.size());
    parts.push_back(trimmed(text.substr(at, end - at)));
    at = end + 1;
  }
  return parts;
}

bool is_codec(std::string_view step) {
  const auto all = compress::methods();
  return std::ranges::find(all, step.substr(0, step.find(':')), &compress::MethodInfo::name) != all.end();
}

bool is_policy(std::string_view step) {
  const auto all = policy::policies();
  return std::ranges::find(all, step.substr(0, step.find(':')), &policy::PolicyInfo::name) != all.end();
}

Simulation parse_eviction(std::string_view step) {
  const size_t colon = step.rfind(':');
  require<UsageError>(colon != step.npos && colon + 1 < step.size(), "[method] '", step,
                      "' is a policy without a budget: write ", step, step.ends_with(':') ? "" : ":",
                      "0.25 for a quarter of the tokens, or ", step, step.ends_with(':') ? "" : ":",
                      "256 for so many");
  Simulation eviction{.policy = policy::find_policy(step.substr(0, colon)),
                      .budget = policy::parse_budget(step.substr(colon + 1))};
  const policy::PolicyInfo& info = eviction.policy.info;
  require<UsageError>(info.evicts && info.frees_memory, "[method] '", step,
                      "': this policy frees no memory; see kvviz simulate for what it does to the model");
  require<UsageError>(!info.clairvoyant, "[method] '", step,
                      "': this policy reads the text to come; it is a bound in kvviz simulate, no method");
  return eviction;
}

compress::Method parse_codec(std::string_view step) {
  if (is_codec(step)) return compress::parse_method(step);
  std::string policies;
  for (const policy::PolicyInfo& info : policy::policies())
    if (info.evicts && info.frees_memory && !info.clairvoyant)
      policies.append(policies.empty() ? "" : ", ").append(info.name);
  try {
    return compress::parse_method(step);
  } catch (const UsageError& error) {
    std::vector<std::string> names;
    for (const compress::MethodInfo& info : compress::methods()) names.emplace_back(info.name);
    for (const policy::PolicyInfo& info : policy::policies()) names.emplace_back(info.name);
    const std::string meant = likely_meant(step.substr(0, step.find(':')), names);
    throw UsageError(cat(error.what(), "; and policies with a budget, like h2o:0.25: ", policies,
                         meant.empty() ? "" : cat("; did you mean ", meant, "?")));
  }
}

CacheSteps parse_steps(std::string_view text) {
  CacheSteps steps;
  for (const std::string_view step : parts_of(text, '+')) {
    require<UsageError>(!step.empty(), "[method] '", text,
                        "' has an empty step; expected NAME[:ARGUMENTS] on both sides of '+'");
    if (is_policy(step) && !is_codec(step)) {
      require<UsageError>(!steps.eviction, "[method] '", text, "' evicts twice; expected one policy");
      require<UsageError>(steps.codec.info == nullptr, "[method] '", text,
                          "' evicts after it codes; write the policy first: a policy reads keys as they are");
      steps.eviction = parse_eviction(step);
      continue;
    }
    require<UsageError>(steps.codec.info == nullptr, "[method] '", text,
                        "' codes twice; expected one code behind a policy");
    steps.codec = parse_codec(step);
  }
  require<UsageError>(!steps.eviction || steps.codec.info == nullptr || !steps.codec.codec->across_layers(),
                      "[method] '", text,
                      "' shares tokens between layers, of which the policy keeps others in each; leave one "
                      "of the two out");
  if (steps.codec.info == nullptr) steps.codec = compress::parse_method("f16");
  return steps;
}

/// "hadamard:rtn_token" of "hadamard:rtn_token:4".
std::string without_numbers(std::string_view step) {
  for (size_t colon = step.find(':'); colon != step.npos; colon = step.find(':', colon + 1))
    if (colon + 1 < step.size() && step[colon + 1] >= '0' && step[colon + 1] <= '9')
      return std::string(step.substr(0, colon));
  return std::string(step);
}

std::string summary_of(const CacheSteps& steps) {
  if (!steps.eviction) return std::string(steps.codec.info->summary);
  return cat(steps.eviction->policy.info.summary, "; ", steps.codec.info->summary);
}

}  // namespace

CachePlan parse_plan(std::string_view text) {
  CachePlan plan;
  for (const std::string_view layer : parts_of(text, '|')) {
    std::string steps, family;
    for (const std::string_view step : parts_of(layer, '+')) {
      steps.append(steps.empty() ? "" : " + ").append(step);
      family.append(family.empty() ? "" : " + ").append(without_numbers(step));
    }
    plan.layers.push_back(parse_steps(layer));
    plan.text.append(plan.text.empty() ? "" : " | ").append(steps);
    plan.family = family;
    plan.summary = summary_of(plan.layers.back());
  }
  if (plan.layers.size() == 1) return plan;
  plan.family = "by layer";
  plan.summary = "another method in each layer";
  for (const CacheSteps& steps : plan.layers)
    require<UsageError>(!steps.codec.codec->across_layers(), "[method] '", plan.text, "': ", steps.codec.text,
                        " shares tokens between layers, so it takes all of them; leave '|' out");
  return plan;
}

std::vector<std::string> swept_plans_of(std::string_view name) {
  std::vector<std::string> plans;
  const auto codecs = compress::methods();
  if (const auto codec = std::ranges::find(codecs, name, &compress::MethodInfo::name);
      codec != codecs.end()) {
    for (const std::string_view arguments : codec->sweep)
      plans.push_back(cat(name, arguments.empty() ? "" : ":", arguments));
    return plans;
  }
  require<UsageError>(is_policy(name) && name.find(':') == name.npos,
                      "--sweep tries the arguments itself; got --methods ", name,
                      ", expected the name of a method or policy without arguments");
  for (const std::string_view budget : swept_budgets) plans.push_back(cat(name, ':', budget));
  return plans;
}

std::vector<std::string> swept_plans() {
  std::vector<std::string> plans;
  const auto add = [&](std::string_view name) {
    const auto more = swept_plans_of(name);
    plans.insert(plans.end(), more.begin(), more.end());
  };
  for (const compress::MethodInfo& codec : compress::methods()) add(codec.name);
  for (const std::string_view policy : swept_policies) add(policy);
  plans.insert(plans.end(), swept_pairs.begin(), swept_pairs.end());
  return plans;
}

}  // namespace kvviz
