// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "kvviz/figures/generation_parts.hpp"
#include "kvviz/figures/simulate_parts.hpp"
#include "kvviz/plot/text.hpp"

namespace kvviz::figures {
namespace {

using namespace analysis;

/// Of no policy: the full cache's, which no other text is grouped with.
constexpr const char* kFullBudget = "";

std::string row_name(const EvictedText& text) {
  return text.policy + " " + text.budget;
}

/// The largest unit that leaves 1 or more of the largest size.
std::pair<const char*, double> unit_of(double bytes) {
  std::pair<const char*, double> unit{"bytes", 1};
  for (const char* const larger : {"KiB", "MiB", "GiB", "TiB"})
    if (bytes >= 1024 * unit.second) unit = {larger, 1024 * unit.second};
  return unit;
}

/// Texts whose caches are equally large at every step: one line.
struct SizeLine {
  std::vector<std::string> policies;
  std::string budget;
  std::vector<double> bytes;

  std::string all_names() const { return fmt::format("{} {}", fmt::join(policies, ", "), budget); }
  bool long_name() const { return policies.size() > 1 && all_names().size() > 28; }
  std::string label() const {
    if (budget == kFullBudget) return "full cache";
    if (!long_name()) return all_names();
    return fmt::format("{} {} and {} more", policies.front(), budget, policies.size() - 1);
  }
};

std::vector<SizeLine> size_lines(std::span<const EvictedText> texts) {
  std::vector<SizeLine> lines;
  for (const EvictedText& text : texts) {
    SizeLine line{{text.policy}, text.policy == "full" ? kFullBudget : text.budget, {}};
    for (const HeldCache& held : text.held) line.bytes.push_back(static_cast<double>(held.total()));
    const auto same = std::ranges::find_if(
        lines, [&](const SizeLine& l) { return l.budget == line.budget && l.bytes == line.bytes; });
    if (same == lines.end())
      lines.push_back(std::move(line));
    else
      same->policies.push_back(text.policy);
  }
  return lines;
}

/// What the text's policy evicts stays in memory.
bool keeps_memory(const EvictedText& text, const EvictedText& full) {
  if (text.held.empty() || full.held.empty()) return false;
  const size_t last = std::min(text.held.size(), full.held.size()) - 1;
  return text.held[last].entries < full.held[last].entries &&
         text.held[last].bytes >= text.held[last].full_bytes;
}

/// The place of a name among those seen so far.
size_t place_in(std::vector<std::string>& names, const std::string& name) {
  const auto found = std::ranges::find(names, name);
  const auto place = static_cast<size_t>(found - names.begin());
  if (found == names.end()) names.push_back(name);
  return place;
}

/// Which policies' texts are those of the full cache, and how far.
plot::Panel budget_panel(std::span<const EvictedText* const> rows, const EvictedText& full, size_t columns) {
  plot::Heatmap map{.rows = static_cast<int>(rows.size()),
                    .cols = static_cast<int>(columns),
                    .z_label = "",
                    .x0 = 1,
                    .decimals = -1,
                    .nothing_label = "the text has ended",
                    .categories = {{"as with the full cache", plot::Colour{0xbfe3d0}},
                                   {"first token that differs", plot::Colour{0xd55e00}},
                                   {"after it", plot::Colour{0xf4dfb8}}}};
  plot::Panel panel;
  panel.title = "Budget: " + budget_label(rows.front()->budget, rows.front()->held.back().entries);
  panel.x = step_axis();
  for (const EvictedText* const row : rows) {
    panel.y.names.push_back(row->policy + (keeps_memory(*row, full) ? " †" : ""));
    for (size_t i = 0; i < columns; ++i) {
      const auto step = static_cast<int64_t>(i);
      map.z.push_back(i >= row->pieces.size() ? kNone : step < row->equal ? 0 : step == row->equal ? 1 : 2);
    }
  }
  panel.marks.emplace_back(std::move(map));
  return panel;
}

/// The pieces [from, to) of a text on one line.
std::string words(const EvictedText& text, int64_t from, int64_t to) {
  std::string joined;
  const int64_t end = std::min(to, std::ssize(text.pieces));
  for (int64_t i = std::max<int64_t>(from, 0); i < end; ++i) joined += text.pieces[static_cast<size_t>(i)];
  return plot::one_line(joined);
}

/// Where a text leaves that of the full cache, with the tokens around.
std::string parting(const EvictedText& full, const EvictedText& text) {
  constexpr int64_t around = 12;  // tokens
  const int64_t at = text.equal;
  const auto after = [&](const EvictedText& one) {
    const std::string shown = words(one, at, at + around);
    return shown.empty() ? "(the end)" : shown + " ...";
  };
  return fmt::format("First to part, after {} tokens \"{}{}\": full cache \"{}\"; {} \"{}\".", at,
                     at > around ? "... " : "", words(full, at - around, at), after(full), row_name(text),
                     after(text));
}

}  // namespace

plot::Panel bytes_panel(std::span<const EvictedText> texts) {
  const auto all = size_lines(texts);
  std::vector<std::string> policies, budgets;
  double most = 0;
  for (const SizeLine& line : all) most = std::max(most, std::ranges::max(line.bytes));
  const auto [name, unit] = unit_of(most);
  plot::Lines lines;
  for (const SizeLine& line : all) {
    plot::Series series{.label = "", .x = indices(line.bytes.size()), .y = {}};
    for (const double bytes : line.bytes) series.y.push_back(bytes / unit);
    series.end_label = line.label();
    if (line.budget == kFullBudget) {
      series.colour = plot::colours::text;
      series.width = 1.5;
    } else {
      set_look(series, place_in(policies, line.policies.front()));
      const size_t budget = place_in(budgets, line.budget);
      series.stroke = budget % 2 == 1 ? plot::Stroke::dashed : plot::Stroke::line;
      series.width = 1 + 0.75 * static_cast<double>(budget / 2);
    }
    lines.series.push_back(thin(std::move(series)));
  }
  plot::Panel panel;
  panel.title = "Size of the cache";
  panel.x = {.label = "generated tokens", .whole = true};
  const auto steps = static_cast<double>(all.front().bytes.size() - 1);
  if (steps > 0) panel.x.min = 0, panel.x.max = steps;
  panel.y = {.label = fmt::format("size ({})", name), .min = 0};
  if (most > 2 * std::ranges::max(all.front().bytes))  // one policy would press all others to the floor
    panel.y = {.label = panel.y.label, .scale = plot::Scale::log10};
  panel.marks.emplace_back(std::move(lines));
  return panel;
}

NamedFigure policies_figure(const GenerationStudy& study) {
  size_t columns = 0;
  std::vector<std::vector<const EvictedText*>> budgets;
  for (const EvictedText& text : study.evicted) {
    columns = std::max(columns, text.pieces.size());
    const auto own = std::ranges::find(budgets, text.budget, [](const auto& b) { return b.front()->budget; });
    if (own == budgets.end())
      budgets.push_back({&text});
    else
      own->push_back(&text);
  }
  const EvictedText full = full_text(study);
  plot::Figure figure;
  figure.title = "Which tokens are those of the full cache";
  size_t height = 150;
  for (const auto& rows : budgets) {
    figure.panels.push_back(budget_panel(rows, full, columns));
    figure.row_weights.push_back(static_cast<double>(160 + 42 * rows.size()));
    height += 160 + 42 * rows.size();
  }
  figure.panels.front().note =
      "greedy, or with the same random numbers; after the first difference the texts are different ones";
  if (std::ranges::any_of(study.evicted, [&](const auto& text) { return keeps_memory(text, full); }))
    figure.panels.front().note += "; † hides what it evicts and keeps it in memory";
  figure.height = static_cast<int>(std::min<size_t>(height, 1600));
  const auto first = std::ranges::min_element(study.evicted, {}, &EvictedText::equal);
  const std::string caption =
      first->divergence ? parting(full, *first) : "Full: " + plot::one_line(study.text);
  figure.caption = plot::shortened(caption, 1.4 * kCaptionWidth, kCaptionSize);
  return {"generation/policies", std::move(figure)};
}

NamedFigure bytes_figure(const GenerationStudy& study) {
  std::vector<EvictedText> texts{full_text(study)};
  texts.insert(texts.end(), study.evicted.begin(), study.evicted.end());
  plot::Figure figure;
  figure.title = "What has to stay in memory under eviction";
  figure.panels = {bytes_panel(texts)};
  figure.panels.front().note =
      "keys and values in f16, and what the policy remembers of them; a colour to a policy, dashes and "
      "widths to budgets";
  figure.height = static_cast<int>(std::min<size_t>(650 + 12 * texts.size(), 1000));
  for (const SizeLine& line : size_lines(texts))
    if (line.long_name())
      figure.caption += (figure.caption.empty() ? "Equally large: " : "; ") + line.all_names();
  return {"generation/bytes", std::move(figure)};
}

}  // namespace kvviz::figures
