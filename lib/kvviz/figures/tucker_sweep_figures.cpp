// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "kvviz/figures/loss_scale.hpp"
#include "kvviz/figures/tucker_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

constexpr double percent_of_step = 100.0 / tucker_steps;

std::string family_label(const std::string& family) {
  if (family == "tucker") return "Tucker, modes cut alike";
  if (family == "tucker_best") return "Tucker, ranks of the least HOSVD error of this size";
  return "SVD of each head, same bytes, one direction at least";
}

/// One line of the sweep: a family with keys in one basis.
struct Line {
  std::string family;
  KeyBasis basis = KeyBasis::post_rope;
  std::vector<const TuckerOutcome*> points;  ///< by step
};

std::vector<Line> lines_of(const TuckerStudy& study) {
  std::vector<Line> lines;
  for (const TuckerOutcome& point : study.sweep) {
    auto line = std::ranges::find_if(
        lines, [&](const Line& l) { return l.family == point.family && l.basis == point.basis; });
    if (line == lines.end()) line = lines.insert(lines.end(), {point.family, point.basis, {}});
    line->points.push_back(&point);
  }
  return lines;
}

/// Colour by family; keys in the basis that was not asked for are dashed.
plot::Series series_of(const TuckerStudy& study, const Line& line) {
  const auto number = std::ranges::find(tucker_families, line.family) - tucker_families.begin();
  plot::Series series;
  set_look(series, static_cast<size_t>(number));
  series.marker = std::array{plot::Marker::disc, plot::Marker::triangle,
                             plot::Marker::square}[static_cast<size_t>(number)];
  if (line.basis != study.basis) series.stroke = plot::Stroke::dashed;
  return series;
}

/// The legend names families; what dashes mean stands in the caption.
std::string label_of(const TuckerStudy& study, const Line& line) {
  return line.basis == study.basis ? family_label(line.family) : "";
}

std::vector<plot::Category> legend() {
  std::vector<plot::Category> all;
  for (size_t f = 0; f < tucker_families.size(); ++f) {
    plot::Series look;
    set_look(look, f);
    all.push_back({family_label(std::string(tucker_families[f])), *look.colour});
  }
  return all;
}

/// "Solid: keys after RoPE, dashed: keys before RoPE." where both were measured.
std::string strokes(const TuckerStudy& study) {
  const KeyBasis other = study.basis == KeyBasis::pre_rope ? KeyBasis::post_rope : KeyBasis::pre_rope;
  if (std::ranges::none_of(study.sweep, [&](const auto& p) { return p.basis == other; })) return "";
  return fmt::format("Solid: {}; dashed: {}, with the same values. ", keys_label(study, study.basis),
                     keys_label(study, other));
}

using Number = std::function<double(const TuckerOutcome&)>;

plot::Panel by_rank(const TuckerStudy& study, const std::string& title, const plot::Axis& y,
                    const Number& get, bool keys) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "directions that Tucker keeps, modes cut alike [%]"};
  panel.y = y;
  plot::Lines lines;
  for (const Line& line : lines_of(study)) {
    if (!keys && line.basis != study.basis) continue;
    plot::Series series = series_of(study, line);
    for (const TuckerOutcome* point : line.points)
      series.x.push_back(percent_of_step * point->step), series.y.push_back(get(*point));
    lines.series.push_back(std::move(series));
  }
  panel.marks.emplace_back(std::move(lines));
  return panel;
}

LossScale scale_of(const TuckerStudy& study) {
  std::vector<Loss> losses;
  for (const TuckerOutcome& point : study.sweep) losses.push_back(loss_of(point.outcome));
  losses.push_back(loss_of(study.outcomes.front().outcome));
  return LossScale(losses);
}

std::string scale_note(const LossScale& scale) {
  return "Whiskers: standard error." + scale.note();
}

void add_point(plot::Series& series, const LossScale& scale, double x, const CacheOutcome& outcome) {
  const plot::ErrorBar bar = scale.bar(loss_of(outcome));
  series.x.push_back(x), series.y.push_back(scale.shown(outcome.delta_ppl_percent()));
  series.errors.push_back(bar.below), series.errors_above.push_back(bar.above);
}

/// How small the ranks asked for are where they compress and keep to the limit; empty: they do not.
std::string answer_of_asked(const TuckerStudy& study, double limit) {
  const CacheOutcome& asked = study.outcomes.front().outcome;
  if (!(asked.delta_ppl_percent() < limit) || asked.ratio() <= 1) return "";
  return fmt::format(", ranks asked for {:.3g}x", asked.ratio());
}

/// How small each family gets, in words, for the least loss that one of them keeps to.
std::string answer(const TuckerStudy& study) {
  static constexpr std::array<const char*, 3> names{"modes cut alike", "least HOSVD error", "SVD"};
  for (const double limit : {1.0, 10.0, 100.0}) {
    std::string text;
    const std::string asked = answer_of_asked(study, limit);
    bool any = !asked.empty();
    for (size_t f = 0; f < tucker_families.size(); ++f) {
      const TuckerOutcome* best = smallest_within(study, tucker_families[f], limit);
      any = any || best != nullptr;
      text += fmt::format("{}{} {}", f == 0 ? "" : ", ", names[f],
                          best == nullptr ? "never" : fmt::format("{:.3g}x", best->outcome.ratio()));
    }
    if (any) return fmt::format("Less than {:g} % more perplexity: {}{}", limit, text, asked);
  }
  return "Nothing smaller than f16 keeps the perplexity below twice what it was";
}

}  // namespace

plot::Figure tucker_rank_sensitivity(const TuckerStudy& study) {
  const bool keys = study.sides != "values", values = study.sides != "keys";
  const LossScale scale = scale_of(study);
  plot::Figure figure;
  figure.title = "What do ranks cost?";
  plot::Panel ratio = by_rank(
      study, "Size", {.label = "f16 bytes / bytes (higher is better)", .scale = plot::Scale::log10},
      [](const TuckerOutcome& p) { return p.outcome.ratio(); }, false);
  ratio.marks.emplace_back(plot::Reference{plot::Reference::Direction::horizontal, 1, "as large as the cache",
                                           plot::colours::text});
  figure.panels.push_back(std::move(ratio));
  const plot::Axis error{.label = "|X - approximation| / |X| (lower is better)", .min = 0};
  if (keys)
    figure.panels.push_back(by_rank(
        study, "Error of the keys", error, [](const TuckerOutcome& p) { return p.key_error; }, true));
  if (values)
    figure.panels.push_back(by_rank(
        study, "Error of the values", error, [](const TuckerOutcome& p) { return p.value_error; }, false));
  plot::Panel loss;
  loss.title = "Loss of the model";
  loss.x = {.label = "directions that Tucker keeps, modes cut alike [%]"};
  loss.y = scale.axis("increase of perplexity [%] (lower is better)");
  loss.note = scale_note(scale);
  plot::Lines lines;
  for (const Line& line : lines_of(study)) {
    plot::Series series = series_of(study, line);
    for (const TuckerOutcome* point : line.points)
      add_point(series, scale, percent_of_step * point->step, point->outcome);
    lines.series.push_back(std::move(series));
  }
  loss.marks.emplace_back(std::move(lines));
  figure.panels.push_back(std::move(loss));
  figure.legend = legend();
  figure.columns = 2;
  figure.height = 1150;
  figure.caption =
      strokes(study) +
      "At each step the modes cut alike set the size. The ranks of the least HOSVD error and the SVD of each "
      "head store at most as many numbers; only where a single direction takes more does the SVD exceed it. "
      "Factors in f16.";
  return figure;
}

plot::Figure tucker_frontier(const TuckerStudy& study) {
  const LossScale scale = scale_of(study);
  plot::Panel panel;
  panel.title = answer(study);
  panel.x = {.label = "bytes per token, keys and values of all layers, metadata included",
             .scale = plot::Scale::log10};
  panel.y = scale.axis("increase of perplexity [%] (lower is better)");
  panel.note = scale_note(scale);
  plot::Lines lines;
  for (const Line& line : lines_of(study)) {
    plot::Series series = series_of(study, line);
    series.label = label_of(study, line);
    std::vector<const TuckerOutcome*> order = line.points;
    std::ranges::stable_sort(order, {}, [](const TuckerOutcome* p) { return p->outcome.bytes(); });
    for (const TuckerOutcome* point : order)
      add_point(series, scale, point->outcome.bytes_per_token(), point->outcome);
    lines.series.push_back(std::move(series));
  }
  const CacheOutcome& asked = study.outcomes.front().outcome;
  plot::Series point{.label = "Tucker, ranks asked for: " + ranks_label(study)};
  point.colour = plot::colours::text;
  point.stroke = plot::Stroke::points;
  point.marker = plot::Marker::diamond;
  add_point(point, scale, asked.bytes_per_token(), asked);
  lines.series.push_back(std::move(point));
  panel.marks.emplace_back(std::move(lines));
  const CacheOutcome& first = study.sweep.front().outcome;
  panel.marks.emplace_back(plot::Reference{plot::Reference::Direction::vertical,
                                           first.f16_bytes / first.tokens, "the cache in f16",
                                           plot::colours::neutral});
  plot::Figure figure;
  figure.title = "Tucker or the SVD of each head?";
  figure.caption = strokes(study) + "Above: how many times smaller than f16, at most.";
  figure.height = 900;
  figure.panels = {std::move(panel)};
  return figure;
}

}  // namespace kvviz::figures
