// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_target.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/eval/compare.hpp"

namespace kvviz {
namespace {

constexpr std::array<const char*, 4> measures{"delta_ppl", "delta_nll", "kl", "top1_agreement"};

double value_of(const LossLimit& limit, const QualityLoss& loss) {
  if (limit.measure == "delta_ppl")
    return limit.percent ? 100 * loss.delta_ppl / loss.ppl_full : loss.delta_ppl;
  if (limit.measure == "delta_nll") return loss.delta_nll;
  return limit.measure == "kl" ? loss.kl : (limit.percent ? 100 : 1) * loss.top1_agreement;
}

/// A search: `low` keys are known to be too few, `high` to be enough.
struct Search {
  Simulation simulation;
  int64_t low = 0, high = 0;
  double low_value = analysis::kNone, high_value = analysis::kNone;
  bool open = true;
  int64_t middle() const { return high_value == high_value ? low + (high - low) / 2 : high; }
};

/// The fewest keys in which the sinks and recent keys that were asked for have room.
int64_t least_budget(const policy::PolicyInfo& info, const SimulateOptions& o) {
  if (info.newest && info.sinks == 0) return 1;  // window has neither
  const int64_t recent = info.newest ? 0 : o.eviction.recent.value_or(0);
  return std::max<int64_t>(o.eviction.sinks.value_or(0) + recent, 1);
}

/// The first prediction that counts: of the second half, but none of a prompt that was read in full.
int64_t first_counted(const SimulateOptions& o, int64_t tokens) {
  return o.score_from.value_or(std::max(tokens / 2, prompt_of(o, tokens)));
}

void take(Search& search, const LossLimit& limit, double value) {
  const int64_t tried = search.middle();
  const bool enough = limit.above ? value > limit.number : value < limit.number;
  if (enough) {
    search.high = tried;
    search.high_value = value;
  } else {
    search.open = search.high_value == search.high_value;  // else not even the most keys are enough
    search.low = tried;
    search.low_value = value;
  }
  if (search.high - search.low == 1) search.open = false;
}

}  // namespace

LossLimit parse_limit(const std::string& text) {
  LossLimit limit{.text = text};
  const size_t sign = text.find_first_of("<>");
  const auto fail = [&] {
    throw UsageError(
        cat("--target '", text,
            "': expected a measure, < or >, and a number: delta_ppl<1%, delta_ppl<0.5, delta_nll<0.01, "
            "kl<0.02 or top1_agreement>0.95"));
  };
  if (sign == std::string::npos) fail();
  limit.measure = text.substr(0, sign);
  limit.above = text[sign] == '>';
  if (std::ranges::count(measures, limit.measure) == 0) fail();
  if (limit.above != (limit.measure == "top1_agreement")) fail();
  const char* const begin = text.data() + sign + 1;
  const char* end = text.data() + text.size();
  limit.percent = end > begin && end[-1] == '%';
  if (limit.percent) --end;
  const auto read = std::from_chars(begin, end, limit.number);
  if (read.ec != std::errc() || read.ptr != end ||
      (limit.percent && (limit.measure == "kl" || limit.measure == "delta_nll")))
    fail();
  return limit;
}

std::vector<analysis::TargetBudget> find_targets(const Runner& runner, std::span<const TextInput> texts,
                                                 std::span<const Simulation> simulations,
                                                 const LossLimit& limit, const SimulateOptions& o) {
  const Decoder& decoder = runner.model.decoder;
  SimulationOptions settings = settings_of(o, decoder.config());
  settings.compare = false;
  const auto tokens_of = [](const TextInput& text) { return std::ssize(text.tokens.ids); };
  const int64_t half = std::ranges::min(texts, {}, tokens_of).tokens.ids.size() / 2;
  std::vector<Search> searches;
  for (const Simulation& simulation : simulations) {
    const bool known = std::ranges::count(searches, simulation.policy.name,
                                          [](const Search& s) { return s.simulation.policy.name; }) > 0;
    if (!known && simulation.policy.name != "full")
      searches.push_back({.simulation = simulation,
                          .low = least_budget(simulation.policy.info, o) - 1,
                          .high = half,
                          .open = least_budget(simulation.policy.info, o) <= half});
  }
  const auto passes = static_cast<int64_t>(std::bit_width(static_cast<uint64_t>(half))) + 1;
  Progress progress(cat("searching budgets for ", limit.text), passes, o.call.quiet);
  for (int64_t pass = 0; std::ranges::any_of(searches, &Search::open); ++pass) {
    std::vector<Search*> open;
    std::vector<Simulation> tried;
    for (Search& search : searches) {
      if (!search.open) continue;
      open.push_back(&search);
      search.simulation.budget = {.tokens = search.middle(), .text = std::to_string(search.middle())};
      tried.push_back(search.simulation);
    }
    std::vector<std::vector<BlockScores>> scores(open.size());
    for (const TextInput& text : texts) {
      settings.prompt = prompt_of(o, tokens_of(text));
      const SimulationResult result = simulate(decoder, text.tokens.ids, tried, settings);
      std::vector<at::Tensor> hidden;
      for (const SimulatedText& one : result.texts) hidden.push_back(one.hidden);
      auto paired = compare_predictions(decoder, result.full, hidden, text.tokens.ids);
      for (size_t i = 0; i < open.size(); ++i)
        scores[i].push_back(block_scores(paired[i], first_counted(o, tokens_of(text))));
    }
    for (size_t i = 0; i < open.size(); ++i) take(*open[i], limit, value_of(limit, quality_loss(scores[i])));
    progress.update(std::min(pass + 1, passes));
  }
  std::vector<analysis::TargetBudget> targets;
  for (const Search& search : searches) {
    analysis::TargetBudget target{.policy = search.simulation.policy.name, .limit = limit.text};
    target.value = search.high_value;
    target.next_value = search.low_value;
    if (search.high_value == search.high_value) target.budget_tokens = static_cast<double>(search.high);
    targets.push_back(target);
  }
  return targets;
}

}  // namespace kvviz
