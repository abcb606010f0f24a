// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "kvviz/figures/sink_parts.hpp"

namespace kvviz::figures {
namespace {

std::string short_label(const SinkComparisonRun& run, const char* letter) {
  return fmt::format("{}: {}{}", letter, run.label, run.synthetic ? " (synthetic)" : "");
}

std::string label_of(const SinkComparisonRun& run, const char* letter) {
  std::string label = short_label(run, letter);
  if (!std::isnan(run.tokens_min))
    label += run.tokens_min == run.tokens_max
                 ? fmt::format(", {:.0f} tokens", run.tokens_min)
                 : fmt::format(", {:.0f} to {:.0f} tokens", run.tokens_min, run.tokens_max);
  if (!std::isnan(run.threshold)) label += ", threshold " + plain_number(run.threshold);
  return label;
}

plot::Bars::Group rate_of(const SinkComparisonRun& run, const char* letter, plot::Colour colour) {
  return {short_label(run, letter), {run.rate}, {run.rate_se}, colour};
}

plot::Bars::Group later_of(const SinkComparisonRun& run, const char* letter, plot::Colour colour) {
  return {short_label(run, letter),
          {run.p_later, run.base},
          {run.p_later - run.p_later_low, 0},
          colour,
          {run.p_later_high - run.p_later, 0}};
}

/// The numbers of two runs beside each other, each with its number.
plot::Panel bars_of_runs(plot::Panel panel, plot::Bars::Group a, plot::Bars::Group b) {
  constexpr double headroom = 1.12, beside = 0.2;  // from the middle of a pair to that of a bar
  panel.y.min = 0, panel.y.max = headroom;
  std::vector<plot::Note> numbers;
  for (const auto& [group, side] : {std::pair{&a, -beside}, std::pair{&b, beside}})
    for (size_t i = 0; i < group->values.size(); ++i)
      if (std::isfinite(group->values[i]))
        numbers.push_back(
            {static_cast<double>(i) + side, group->values[i], fmt::format("{:.3g}", group->values[i]), true});
  panel.marks.emplace_back(plot::Bars{{std::move(a), std::move(b)}});
  panel.marks.insert(panel.marks.end(), numbers.begin(), numbers.end());
  return panel;
}

const char* in_words(const std::string& variant) {
  return variant == "first_layer" ? "first layer's pattern"
         : variant == "first_key" ? "all mass on key 0"
         : variant == "zero"      ? "no output"
                                  : variant.c_str();
}

/// One number of every variant.
struct VariantNumber {
  const char* title;
  const char* y;
  double (*get)(const ReuseVariantRow&);
  double (*error)(const ReuseVariantRow&) = nullptr;
  std::optional<double> least_top{};  ///< never below 0: the axis begins there and reaches this at least
};

/// Each number is written above its bar.
plot::Panel variant_panel(std::span<const ReuseVariantRow> rows, const VariantNumber& number) {
  const auto& [title, y, get, error, least_top] = number;
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "in place of a sink head's attention", .whole = true};
  panel.y = {.label = y};
  plot::Bars::Group group{"", {}, {}, query_heads};
  double largest = 0;
  for (const ReuseVariantRow& row : rows) {
    panel.x.names.emplace_back(in_words(row.variant));
    group.values.push_back(get(row));
    if (error != nullptr) group.errors.push_back(error(row));
    if (std::isfinite(get(row))) largest = std::max(largest, std::abs(get(row)));
  }
  constexpr double headroom = 1.12;  // above the tallest bar, for its number
  double top = largest;
  if (least_top) {
    panel.y.min = 0;
    top = headroom * std::max(largest, *least_top);
    if (top > 0) panel.y.max = top;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    const double value = group.values[i], half = error == nullptr ? std::nan("") : group.errors[i];
    if (!std::isfinite(value)) continue;
    const std::string shown =
        std::isnan(half) ? fmt::format("{:.3g}", value) : fmt::format("{:.3g} ± {:.2g}", value, half);
    const double clear = 0.035 * top;  // of the upper edge of the bar or its whisker
    const double edge = std::max(value, 0.0) + (std::isnan(half) ? 0 : half);
    panel.marks.emplace_back(plot::Note{static_cast<double>(i), edge + clear, shown});
  }
  panel.marks.insert(panel.marks.begin(), plot::Bars{{std::move(group)}});
  return panel;
}

}  // namespace

NamedFigure sink_comparison_figure(const SinkComparisonRun& a, const SinkComparisonRun& b) {
  plot::Panel rates, later;
  rates.title = "Sink rate";
  for (const analysis::SinkMetricInfo& info : analysis::sink_metrics())
    if (a.metric == info.name) rates.title += fmt::format(" by {}", info.label);
  rates.note = "Share of query heads that are sinks. Whiskers: standard error over texts.";
  rates.x = {.label = "mean over the texts of each run", .whole = true, .names = {"sink rate"}};
  rates.y = {.label = "share of query heads"};
  rates = bars_of_runs(std::move(rates), rate_of(a, "a", query_heads), rate_of(b, "b", kv_groups));
  later.title = "Does the first layer foretell later ones?";
  later.note = "If a run's two bars are equally high, it foretells nothing. Whiskers: 95 % interval.";
  later.x = {.label = "probability of a sink in a later layer",
             .whole = true,
             .names = {"P(later | first layer)", "P(later), base rate"}};
  later.y = {.label = "probability"};
  later = bars_of_runs(std::move(later), later_of(a, "a", query_heads), later_of(b, "b", kv_groups));
  NamedFigure named{"sinks/sink_comparison",
                    two_panels("Two runs compared", std::move(rates), std::move(later))};
  named.figure.subtitle = label_of(a, "a") + "; " + label_of(b, "b");
  if (!a.synthetic && !b.synthetic) return named;
  named.figure.title = "Synthetic: " + named.figure.title;
  named.figure.subtitle = fmt::format("SYNTHETIC (random numbers, no model): {}. {}",
                                      a.synthetic && b.synthetic ? "a and b"
                                      : a.synthetic              ? "a"
                                                                 : "b",
                                      named.figure.subtitle);
  return named;
}

NamedFigure reuse_figure(std::span<const ReuseVariantRow> rows) {
  using Row = ReuseVariantRow;
  plot::Figure figure;
  figure.title = "What is lost, and saved, when sink heads are replaced?";
  figure.columns = 2;
  figure.height = 1100;
  figure.panels = {
      variant_panel(rows,
                    {"Perplexity (lower is better)", "change of perplexity (whisker: standard error)",
                     [](const Row& r) { return r.delta_ppl; }, [](const Row& r) { return r.delta_ppl_se; }}),
      variant_panel(rows, {.title = "Divergence of the predictions (lower is better)",
                           .y = "KL(full || replaced) [nats]",
                           .get = [](const Row& r) { return r.kl; },
                           .least_top = 0}),
      variant_panel(rows, {.title = "Same most likely token (higher is better)",
                           .y = "share of tokens",
                           .get = [](const Row& r) { return r.top1; },
                           .least_top = 1}),
      variant_panel(rows, {.title = "Measured time of the forward pass (below 1: faster)",
                           .y = "seconds, relative to full attention",
                           .get = [](const Row& r) { return r.seconds / r.seconds_full; },
                           .least_top = 1})};
  if (!rows.empty() && std::isfinite(rows.front().ppl_full))
    figure.panels[0].note = fmt::format("With full attention: {:.4g}.", rows.front().ppl_full);
  figure.panels[3].note = "Median passes, each in turn with full attention.";
  figure.panels[3].marks.emplace_back(
      plot::Reference{plot::Reference::Direction::horizontal, 1, "full attention", plot::colours::neutral});
  return {"sinks/reuse_evaluation", std::move(figure)};
}

}  // namespace kvviz::figures
