// SPDX-License-Identifier: MIT
#include "kvviz/policy/policy.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/policy/budget.hpp"
#include "kvviz/policy/keep_best.hpp"
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

const PolicyInfo* row_of(std::string_view name) {
  const auto all = policies();
  const auto found = std::ranges::find(all, name, &PolicyInfo::name);
  return found == all.end() ? nullptr : &*found;
}

std::string names() {
  std::string text;
  for (const PolicyInfo& info : policies()) text += (text.empty() ? "" : ", ") + std::string(info.name);
  return text;
}

int64_t default_recent(const PolicyInfo& info, int64_t budget, const PolicyOptions& options) {
  if (info.observation) return std::min(options.observation, std::max<int64_t>(budget / 2, 1));
  return info.recent != nullptr ? info.recent(budget) : 0;
}

void check_options(const PolicyOptions& options) {
  const auto at_least = [](const char* name, int64_t value, int64_t least) {
    require<UsageError>(value >= least, "[", name, "] got ", value, ", expected ", least, " or more");
  };
  require<UsageError>(options.future <= most_future, "[future] got ", options.future, ", expected at most ",
                      most_future);
  at_least("sinks", options.sinks.value_or(0), 0);
  at_least("recent", options.recent.value_or(0), 0);
  at_least("observation", options.observation, 1);
  at_least("beta", options.beta, 1);
  at_least("lag", options.lag, 1);
  at_least("future", options.future, 1);
  at_least("refresh", options.refresh, 1);
  require<UsageError>(options.kernel >= 1 && options.kernel % 2 == 1, "[pool-kernel] got ", options.kernel,
                      ", expected an odd number of keys");
  require<UsageError>(options.floor >= 0 && options.floor <= 1, "[floor] got ", options.floor,
                      ", expected 0 to 1");
  require<UsageError>(options.epsilon >= 0 && std::isfinite(options.epsilon), "[epsilon] got ",
                      options.epsilon, ", expected 0 or more");
}

int64_t budget_of(const Policy& policy, const PolicyOptions& options, const kernels::SlotOwner& owner,
                  const kernels::ScanShape& shape, const LayerPlace& place) {
  if (!policy.info.evicts) return place.budget;
  if (!options.budgets.empty()) {
    const auto want = static_cast<size_t>(place.layers * shape.kv_heads);
    require<UsageError>(options.budgets.size() == want, "[budgets] got ", options.budgets.size(),
                        " numbers, expected one for each of ", place.layers, " layers x ", shape.kv_heads,
                        " KV heads");
    return options.budgets[static_cast<size_t>(place.layer * shape.kv_heads + owner.kv_head)];
  }
  if (!policy.info.pyramid) return place.budget;
  return pyramid_budgets(place.layers, place.budget, *options.sinks + *options.recent, options.beta,
                         place.tokens)[static_cast<size_t>(place.layer)];
}

}  // namespace

std::span<const PolicyInfo> policies() {
  static const std::array all{
      full_policy(),     window_policy(),      streaming_llm_policy(), h2o_policy(),
      h2o_mask_policy(), h2o_fullrow_policy(), h2o_global_policy(),    lru_policy(),
      tova_policy(),     snapkv_policy(),      pyramidkv_policy(),     adakv_policy(),
      knorm_policy(),    keydiff_policy(),     lagkv_policy(),         expected_attention_policy(),
      random_policy(),   oracle_policy()};
  return all;
}

Policy find_policy(std::string_view name) {
  if (const PolicyInfo* const info = row_of(name)) return {.info = *info, .name = std::string(name)};
  const std::string_view adakv = "adakv:";
  const PolicyInfo* const base = name.starts_with(adakv) ? row_of(name.substr(adakv.size())) : nullptr;
  require<UsageError>(base != nullptr, "[policy] '", name, "' is no policy; there are ", names(),
                      ", and adakv:<policy>");
  require<UsageError>(base->scorer != nullptr, "[policy] adakv cannot share a budget by '", base->name,
                      "', which gives keys no scores");
  const PolicyInfo& shares = *row_of("adakv");
  Policy policy{.info = *base, .name = std::string(name), .base = base->scorer};
  policy.info.name = shares.name;
  policy.info.summary = shares.summary;
  policy.info.citation = shares.citation;
  policy.info.grain = shares.grain;
  policy.info.scorer = shares.scorer;
  policy.info.rule = shares.rule;
  policy.info.alike = shares.alike;
  return policy;
}

Split split(const Policy& policy, int64_t budget, const PolicyOptions& options) {
  check_options(options);
  require<UsageError>(budget >= 1, "[budget] got ", budget, ", expected at least 1 key");
  const PolicyInfo& info = policy.info;
  Split result;
  // A policy's own sinks leave room for the recent keys asked for, and for the newest key.
  const int64_t room = budget - (info.newest ? 1 : std::max<int64_t>(options.recent.value_or(1), 1));
  const bool without_sinks = info.newest && info.sinks == 0;
  if (!without_sinks)
    result.sinks = options.sinks.value_or(std::clamp<int64_t>(info.sinks, 0, std::max<int64_t>(room, 0)));
  require<UsageError>(result.sinks <= budget, "[", policy.name, "] ", result.sinks,
                      " sinks do not fit in a budget of ", budget, " keys");
  const bool asked = options.recent.has_value() && !info.newest;
  result.recent =
      asked ? *options.recent : std::min(default_recent(info, budget, options), budget - result.sinks);
  require<UsageError>(result.sinks + result.recent <= budget, "[", policy.name, "] ", result.sinks,
                      " sinks and ", result.recent, " recent keys do not fit in a budget of ", budget,
                      " keys");
  result.heavy = budget - result.sinks - result.recent;
  return result;
}

std::vector<kernels::SlotOwner> owners(const PolicyOptions& options, const kernels::ScanShape& shape) {
  const int64_t group = shape.query_heads / shape.kv_heads;
  std::vector<kernels::SlotOwner> all;
  for (int64_t head = 0; head < shape.query_heads; head += options.per_query_head ? 1 : group) {
    all.push_back({.kv_head = head / group,
                   .first_query_head = head,
                   .query_heads = options.per_query_head ? 1 : group});
  }
  return all;
}

std::vector<Split> layer_splits(const Policy& policy, const PolicyOptions& options,
                                const kernels::ScanShape& shape, const LayerPlace& place) {
  PolicyOptions of_layer = options;
  if (policy.info.pyramid && options.budgets.empty()) {
    // All layers of a pyramid keep as many sinks and recent keys as one of mean budget.
    const Split mean = split(policy, place.budget, options);
    of_layer.sinks = mean.sinks;
    of_layer.recent = mean.recent;
  }
  std::vector<Split> splits;
  for (const kernels::SlotOwner& owner : owners(options, shape)) {
    splits.push_back(split(policy, budget_of(policy, of_layer, owner, shape, place), of_layer));
    const int64_t first = splits.front().budget(), here = splits.back().budget();
    require<UsageError>(!policy.info.alike || here == first, "[budgets] ", policy.name,
                        " keeps the same keys in all heads of a layer, but those of layer ", place.layer,
                        " have budgets of ", first, " and ", here, " keys; give them one");
  }
  return splits;
}

std::vector<Metadata> layer_metadata(const Policy& policy, const PolicyOptions& options,
                                     const kernels::ScanShape& shape, const LayerPlace& place) {
  const std::vector<kernels::SlotOwner> all = owners(options, shape);
  const std::vector<Split> splits = layer_splits(policy, options, shape, place);
  const RuleContext context{.options = options,
                            .shape = shape,
                            .owners = all,
                            .splits = splits,
                            .layer = place.layer,
                            .tokens = place.tokens,
                            .rotary = place.rotary};
  std::vector<Metadata> bytes;
  for (size_t owner = 0; owner < all.size(); ++owner) {
    bytes.push_back(policy.info.metadata != nullptr ? policy.info.metadata(context, owner)
                                                    : Metadata{.key = position_bytes + score_bytes});
  }
  return bytes;
}

std::vector<kernels::DecisionGroup> decision_groups(const Policy& policy, const PolicyOptions& options,
                                                    const kernels::ScanShape& shape, const LayerPlace& place,
                                                    std::span<const std::vector<double>> totals) {
  const std::vector<kernels::SlotOwner> all = owners(options, shape);
  const std::vector<Split> splits = layer_splits(policy, options, shape, place);
  require<std::logic_error>(!policy.info.clairvoyant || totals.size() == all.size(), policy.name,
                            " needs the full-attention weight of every token");
  const size_t size = policy.info.grain == Grain::layer ? all.size() : 1;
  std::vector<kernels::DecisionGroup> groups;
  for (size_t first = 0; first < all.size(); first += size) {
    const std::span<const kernels::SlotOwner> mine(all.data() + first, size);
    const RuleContext context{.options = options,
                              .shape = shape,
                              .owners = mine,
                              .splits = std::span(splits).subspan(first, size),
                              .layer = place.layer,
                              .tokens = place.tokens,
                              .rotary = place.rotary,
                              .total_mass = totals.empty() ? totals : totals.subspan(first, size)};
    groups.push_back({.owners = {mine.begin(), mine.end()},
                      .rule = policy.base != nullptr          ? share_budget(context, policy.base)
                              : policy.info.scorer != nullptr ? keep_best(context, policy.info.scorer)
                                                              : policy.info.rule(context)});
  }
  return groups;
}

}  // namespace kvviz::policy
