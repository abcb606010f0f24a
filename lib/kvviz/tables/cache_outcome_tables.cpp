// SPDX-License-Identifier: MIT
#include "kvviz/tables/cache_outcome_tables.hpp"

#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {

Table head_errors_table(const std::string& name, const std::vector<std::string>& columns,
                        std::span<const NamedOutcome> outcomes) {
  struct Row {
    const NamedOutcome* named;
    const analysis::CacheOutcomeLayer* layer;
    size_t head;
  };
  std::vector<Row> rows;
  for (const NamedOutcome& named : outcomes)
    for (const analysis::CacheOutcomeLayer& layer : named.outcome->layers)
      for (size_t head = 0; head < layer.head_output_error.size(); ++head)
        rows.push_back({&named, &layer, head});
  std::vector<Field<Row>> fields;
  for (size_t i = 0; i < columns.size(); ++i)
    fields.push_back({word(columns[i]), [i](const Row& r) { return Cell(r.named->names.at(i)); }});
  fields.push_back({whole("layer"), [](const Row& r) { return integer(r.layer->layer); }});
  fields.push_back({whole("head"), [](const Row& r) { return integer(static_cast<int64_t>(r.head)); }});
  fields.push_back(
      {number("output_error"), [](const Row& r) { return real(r.layer->head_output_error[r.head]); }});
  std::vector<std::string> key = columns;
  key.insert(key.end(), {"layer", "head"});
  return make_table(name, std::move(key), fields, rows);
}

}  // namespace kvviz::tables
