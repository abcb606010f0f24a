// SPDX-License-Identifier: MIT
#include "kvviz/tables/analyze_tables.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr const char* no_alpha = "fewer queries than alpha_1 is the mean of";
constexpr const char* one_key = "no query sees more than one key";

// The measures that heads, KV heads and layers have in common.
template <class Row>
std::vector<Field<Row>> shared_fields() {
  return {{whole("layer"), [](const Row& r) { return integer(r.layer); }},
          {number("alpha_1"), [](const Row& r) { return real(r.alpha_1, no_alpha); }},
          {number("sink_mass"), [](const Row& r) { return real(r.sink_mass); }},
          {number("first_mass"), [](const Row& r) { return real(r.first_mass); }},
          {number("entropy", "nats"), [](const Row& r) { return real(r.entropy); }},
          {number("entropy_normalized"), [](const Row& r) { return real(r.entropy_normalized, one_key); }},
          {number("distance", "tokens"), [](const Row& r) { return real(r.distance); }}};
}

}  // namespace

const char* name_of(HeadClass head_class) {
  switch (head_class) {
    case HeadClass::sink:
      return "sink";
    case HeadClass::local:
      return "local";
    case HeadClass::global:
      return "global";
    case HeadClass::mixed:
      return "mixed";
  }
  return "";
}

Table attention_heads_table(const AttentionResult& result) {
  using Row = AttentionHead;
  auto fields = shared_fields<Row>();
  fields.insert(fields.begin() + 1, {{whole("head"), [](const Row& r) { return integer(r.head); }},
                                     {whole("kv_head"), [](const Row& r) { return integer(r.kv_head); }},
                                     {{"class", "", ColumnType::text}, [](const Row& r) {
                                        return Cell(std::string(name_of(r.head_class)));
                                      }}});
  fields.push_back(
      {number("distance_relative"), [](const Row& r) { return real(r.distance_relative, one_key); }});
  fields.push_back({number("small_share"), [](const Row& r) { return real(r.small_share); }});
  return make_table("attention_heads", {"layer", "head"}, fields, result.heads);
}

Table attention_kv_heads_table(const AttentionResult& result) {
  using Row = AttentionKvHead;
  auto fields = shared_fields<Row>();
  fields.insert(fields.begin() + 1, {whole("kv_head"), [](const Row& r) { return integer(r.kv_head); }});
  return make_table("attention_kv_heads", {"layer", "kv_head"}, fields, result.kv_heads);
}

Table attention_layers_table(const AttentionResult& result) {
  using Row = AttentionLayerRow;
  auto fields = shared_fields<Row>();
  fields.push_back({number("sink_rate"), [](const Row& r) { return real(r.sink_rate, no_alpha); }});
  fields.push_back({number("small_share"), [](const Row& r) { return real(r.small_share); }});
  const char* classes[] = {"sink_heads", "local_heads", "global_heads", "mixed_heads"};
  for (size_t i = 0; i < 4; ++i)
    fields.push_back({whole(classes[i]), [i](const Row& r) { return integer(r.classes[i]); }});
  return make_table("attention_layers", {"layer"}, fields, result.layers);
}

Table top_keys_table(const AttentionResult& result, std::span<const std::string> texts) {
  using Row = TopKey;
  const std::vector<Field<Row>> fields = {
      {whole("token"), [](const Row& r) { return integer(r.key); }},
      {{"text", "", ColumnType::text},
       [texts](const Row& r) { return Cell(texts[static_cast<size_t>(r.key)]); }},
      {number("received"), [](const Row& r) { return real(r.received); }},
      {number("value_weighted"),
       [](const Row& r) { return real(r.value_weighted, "value norms are not known"); }}};
  return make_table("top_keys", {"token"}, fields, result.top_keys);
}

}  // namespace kvviz::tables
