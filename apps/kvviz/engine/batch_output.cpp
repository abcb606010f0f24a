// SPDX-License-Identifier: MIT
#include "kvviz/engine/batch_output.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/figures/over_texts_figures.hpp"
#include "kvviz/report/result_record.hpp"

namespace kvviz {
namespace {

/// Columns of a table by their names.
class Columns {
 public:
  Columns(const Result& result, const std::string& table) : table_(find_table(result, table)) {}
  bool has(const std::string& column) const {
    return table_ != nullptr && column_of(*table_, column).has_value();
  }
  /// NaN where there is no number. Of the rows of `side`, where it is not empty.
  std::vector<double> numbers(const std::string& column, const std::string& side = {}) const {
    std::vector<double> all;
    for (const auto& row : table_->rows)
      if (side.empty() || row[place("side")] == Cell(side))
        all.push_back(number_in(row[place(column)]).value_or(stats::kNone));
    return all;
  }
  /// The row whose first column holds `key`, or nullptr.
  const std::vector<Cell>* row(const std::string& key) const {
    const auto at = std::ranges::find(table_->rows, Cell(key), [](const auto& row) { return row.front(); });
    return at == table_->rows.end() ? nullptr : &*at;
  }
  double number(const std::vector<Cell>& row, const std::string& column) const {
    return number_in(row[place(column)]).value_or(stats::kNone);
  }

 private:
  size_t place(const std::string& column) const { return column_of(*table_, column).value(); }
  const Table* table_;
};

std::vector<figures::TextNumbers> text_numbers(const Result& result, const BatchLayout& layout) {
  const Columns texts(result, "texts"), facts(result, "facts_over_texts");
  std::vector<figures::TextNumbers> all;
  for (const BatchLayout::FactPanel& panel : layout.facts) {
    const auto* row = facts.row(panel.fact);
    if (row == nullptr || !texts.has(panel.fact)) continue;
    all.push_back({.title = panel.title,
                   .y_label = panel.y_label,
                   .text = texts.numbers("text"),
                   .values = texts.numbers(panel.fact),
                   .mean = facts.number(*row, "mean"),
                   .low = facts.number(*row, "ci95_low"),
                   .high = facts.number(*row, "ci95_high"),
                   .least = panel.least,
                   .most = panel.most});
  }
  return all;
}

std::vector<figures::LayerCurves> layer_curves(const Result& result, const BatchLayout& layout) {
  std::vector<figures::LayerCurves> all;
  for (const BatchLayout::LayerPanel& panel : layout.layers) {
    figures::LayerCurves curves{.title = panel.title, .y_label = panel.y_label, .curves = {}};
    for (const auto& [of, label, colour] : panel.curves) {
      const Columns table(result, of.table + "_over_texts");
      if (!table.has(of.column)) continue;
      curves.curves.push_back({.label = label,
                               .colour = colour,
                               .layer = table.numbers("layer", of.side),
                               .mean = table.numbers(of.column, of.side),
                               .sd = table.numbers(of.column + "_sd", of.side)});
    }
    if (!curves.curves.empty()) all.push_back(std::move(curves));
  }
  return all;
}

std::vector<figures::HeadSpread> head_spreads(const Result& result, const BatchLayout& layout) {
  std::vector<figures::HeadSpread> all;
  for (const BatchLayout::HeadPanel& panel : layout.heads) {
    const Columns table(result, panel.of.table + "_over_texts");
    if (!table.has(panel.of.column)) continue;
    figures::HeadSpread spread{
        .title = panel.title, .x_label = panel.x_label, .z_label = panel.z_label, .mean = {}, .sd = {}};
    spread.least = panel.least, spread.most = panel.most;
    const auto layers = table.numbers("layer", panel.of.side),
               heads = table.numbers(panel.heads, panel.of.side),
               means = table.numbers(panel.of.column, panel.of.side),
               sds = table.numbers(panel.of.column + "_sd", panel.of.side);
    for (size_t i = 0; i < layers.size(); ++i) {
      const auto layer = static_cast<int64_t>(layers[i]), head = static_cast<int64_t>(heads[i]);
      spread.mean.push_back({layer, head, means[i]});
      spread.sd.push_back({layer, head, sds[i]});
    }
    all.push_back(std::move(spread));
  }
  return all;
}

std::vector<figures::NamedFigure> figures_of(const Result& result, const BatchLayout& layout) {
  std::vector<figures::NamedFigure> all;
  if (const auto facts = text_numbers(result, layout); !facts.empty())
    all.push_back(figures::text_numbers_figure(facts));
  if (const auto layers = layer_curves(result, layout); !layers.empty())
    all.push_back(figures::layer_curves_figure(layers));
  if (const auto heads = head_spreads(result, layout); !heads.empty())
    all.push_back(figures::head_spread_figure(heads));
  return all;
}

std::string tokens_of(const Result& result) {
  const auto tokens = Columns(result, "texts").numbers("tokens");
  const auto [fewest, most] = std::ranges::minmax(tokens);
  return fewest == most ? cat(most, " tokens") : cat(fewest, " to ", most, " tokens");
}

}  // namespace

nlohmann::json text_record(Result result, const BatchLayout& layout) {
  std::erase_if(result.tables, [&](const Table& table) {
    return std::ranges::find(layout.over.tables, table.name, &tables::TableOverTexts::name) ==
           layout.over.tables.end();
  });
  return to_record(result);
}

int deliver_over_texts(const TextRun& texts, const BatchLayout& layout, BatchDelivery batch) {
  tables::OverTexts all(layout.over);
  texts.each([&](const TextRun::Record& record) {
    all.add({record.index, record.text.name, record.text.tokens}, result_from_record(record.body));
  });
  Result result{.command = batch.command,
                .provenance = texts.provenance(batch.call, std::move(batch.options))};
  all.put_into(result);
  const SubjectOrigin origin = texts.origin();
  Delivery delivery{.gates = std::move(batch.gates)};
  texts.add_failures(result, delivery);
  if (!batch.output.no_plots) delivery.figures = figures_of(result, layout);
  delivery.heading = cat(origin.model, ", ", origin.text);
  delivery.subtitle = cat(short_name(origin.model), ", ", origin.text, ", ", tokens_of(result));
  delivery.shown_tables = std::move(batch.shown_tables);
  return deliver(std::move(result), std::move(delivery), batch.output);
}

void add_text_options(nlohmann::ordered_json& effective, const TextsOptions& o) {
  if (names_one_text(o))
    add_options(effective, o.text);
  else
    add_options(effective, o);
}

}  // namespace kvviz
