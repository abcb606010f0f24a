// SPDX-License-Identifier: MIT
#include "kvviz/tables/analyze_tables.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr const char* no_spectrum = "nothing varies over the tokens, or there is one token";
constexpr const char* no_variance = "no variance";

// The fields that keys and values share, for both halves of a row.
template <class Row, class Half>
void add_halves(std::vector<Field<Row>>& fields, const std::vector<Field<Half>>& of_half) {
  for (const auto& [prefix, half] : {std::pair("k_", &Row::key), std::pair("v_", &Row::value)})
    for (const auto& field : of_half) {
      Column column = field.column;
      column.name = column.name.starts_with("legacy_") ? "legacy_" + (prefix + column.name.substr(7))
                                                       : prefix + column.name;
      fields.push_back({column, [half = half, get = field.get](const Row& row) { return get(row.*half); }});
    }
}

template <class Half>
std::vector<Field<Half>> shared_fields() {
  return {{number("hoyer"), [](const Half& h) { return real(h.hoyer); }},
          {number("effective_rank"), [](const Half& h) { return real(h.effective_rank, no_spectrum); }},
          {number("small_share"), [](const Half& h) { return real(h.small_share); }},
          {number("rms"), [](const Half& h) { return real(h.rms); }},
          {number("mean_abs"), [](const Half& h) { return real(h.mean_abs); }},
          {number("std"), [](const Half& h) { return real(h.std); }},
          {number("abs_max"), [](const Half& h) { return real(h.abs_max); }},
          {number("participation_ratio"), [](const Half& h) { return real(h.participation_ratio); }},
          {number("excess_kurtosis"), [](const Half& h) { return real(h.excess_kurtosis, no_variance); }},
          {number("stable_rank"), [](const Half& h) { return real(h.stable_rank, no_spectrum); }},
          {number("zero_share"), [](const Half& h) { return real(h.zero_share); }},
          {number("legacy_sparsity"), [](const Half& h) { return real(h.legacy.sparsity); }},
          {number("legacy_mean"), [](const Half& h) { return real(h.legacy.mean); }},
          {number("legacy_std"), [](const Half& h) { return real(h.legacy.std, "a single element"); }}};
}

template <class Row>
void add_cka(std::vector<Field<Row>>& fields) {
  const char* reason = "the keys or the values are constant over the tokens";
  fields.push_back({number("cka"), [=](const Row& r) { return real(r.cka, reason); }});
  fields.push_back({number("cka_chance"), [=](const Row& r) { return real(r.cka_chance, reason); }});
  fields.push_back({number("cka_excess"), [=](const Row& r) { return real(r.cka_excess, reason); }});
}

}  // namespace

Table layers_table(const LayersResult& result) {
  std::vector<Field<LayerRow>> fields = {
      {whole("layer"), [](const LayerRow& r) { return integer(r.layer); }},
      {whole("kv_heads"), [](const LayerRow& r) { return integer(r.kv_heads); }},
      {whole("tokens"), [](const LayerRow& r) { return integer(r.tokens); }},
      {whole("head_dim"), [](const LayerRow& r) { return integer(r.head_dim); }},
      {whole("window", "tokens"), [](const LayerRow& r) { return integer(r.window); }},
      {whole("bytes", "bytes"), [](const LayerRow& r) { return integer(r.bytes); }}};
  add_halves(fields, shared_fields<LayerHalf>());
  add_cka(fields);
  fields.push_back({number("legacy_kv_correlation"), [](const LayerRow& r) {
                      return real(r.legacy_kv_correlation,
                                  "one element, or keys and values differ in head_dim");
                    }});
  return make_table("layers", {"layer"}, fields, result.rows);
}

Table heads_table(const HeadsResult& result) {
  std::vector<Field<HeadRow>> fields = {{whole("layer"), [](const HeadRow& r) { return integer(r.layer); }},
                                        {whole("head"), [](const HeadRow& r) { return integer(r.head); }}};
  auto of_half = shared_fields<HeadHalf>();
  const char* energy[] = {"energy_top_1pct", "energy_top_5pct", "energy_top_10pct"};
  const char* components[] = {"components_90pct", "components_95pct", "components_99pct"};
  for (size_t i = 0; i < 3; ++i) {
    of_half.push_back({number(energy[i]), [i](const HeadHalf& h) { return real(h.top_energy[i]); }});
    of_half.push_back({whole(components[i]), [i](const HeadHalf& h) { return integer(h.components[i]); }});
  }
  add_halves(fields, of_half);
  add_cka(fields);
  return make_table("heads", {"layer", "head"}, fields, result.rows);
}

Table tokens_table(const TokensResult& result, std::span<const std::string> texts) {
  const char* no_attention = "attention was not measured";
  std::vector<Field<TokenRow>> fields = {
      {whole("token"), [](const TokenRow& r) { return integer(r.token); }},
      {word("text"), [texts](const TokenRow& r) { return Cell(texts[static_cast<size_t>(r.token)]); }},
      {number("received"), [=](const TokenRow& r) { return real(r.received, no_attention); }},
      {number("value_weighted"), [=](const TokenRow& r) { return real(r.value_weighted, no_attention); }},
      {number("k_norm"), [](const TokenRow& r) { return real(r.k_norm); }},
      {number("v_norm"), [](const TokenRow& r) { return real(r.v_norm); }},
      {number("k_norm_relative"),
       [](const TokenRow& r) { return real(r.k_norm_relative, "all keys are zero"); }},
      {number("v_norm_relative"),
       [](const TokenRow& r) { return real(r.v_norm_relative, "all values are zero"); }},
      {number("legacy_k_sparsity"), [](const TokenRow& r) { return real(r.legacy_k_sparsity); }},
      {number("legacy_v_sparsity"), [](const TokenRow& r) { return real(r.legacy_v_sparsity); }},
      {number("legacy_importance"), [](const TokenRow& r) { return real(r.legacy_importance); }}};
  return make_table("tokens", {"token"}, fields, result.rows);
}

Table outliers_table(const ChannelsResult& result) {
  std::vector<Field<ChannelOutlier>> fields = {
      {whole("layer"), [](const ChannelOutlier& r) { return integer(r.layer); }},
      {whole("head"), [](const ChannelOutlier& r) { return integer(r.head); }},
      {word("half"),
       [](const ChannelOutlier& r) { return Cell(std::string(r.half == Half::key ? "key" : "value")); }},
      {whole("channel"), [](const ChannelOutlier& r) { return integer(r.channel); }},
      {number("rms_ratio"), [](const ChannelOutlier& r) { return real(r.ratio); }},
      {number("abs_max"), [](const ChannelOutlier& r) { return real(r.abs_max); }},
      {whole("rope_frequency"), [](const ChannelOutlier& r) {
         return r.frequency < 0 ? Cell(Null{"not a rotated key channel"}) : integer(r.frequency);
       }}};
  return make_table("channel_outliers", {"layer", "head", "half", "channel"}, fields, result.outliers);
}

Table dimensions_table(const ChannelsResult& result) {
  using Row = LegacyDimension;
  std::vector<Field<Row>> fields = {
      {whole("dimension"), [](const Row& r) { return integer(r.dimension); }},
      {number("k_sparsity"), [](const Row& r) { return real(r.k_sparsity); }},
      {number("v_sparsity"), [](const Row& r) { return real(r.v_sparsity); }},
      {number("overall_sparsity"), [](const Row& r) { return real(r.overall_sparsity); }}};
  return make_table("legacy_dimensions", {"dimension"}, fields, result.legacy.dimensions);
}

Table quantiles_table(const DistributionResult& result) {
  struct Row {
    int layer;
    const char* half;
    double share, magnitude;
  };
  std::vector<Row> rows;
  for (const auto& [half, layers] : {std::pair("key", &result.key), std::pair("value", &result.value)})
    for (const LayerDistribution& layer : *layers)
      for (size_t i = 0; i < result.probabilities.size(); ++i)
        rows.push_back({layer.layer, half, result.probabilities[i], layer.quantiles[i]});
  const std::vector<Field<Row>> fields = {
      {whole("layer"), [](const Row& r) { return integer(r.layer); }},
      {word("half"), [](const Row& r) { return Cell(std::string(r.half)); }},
      {number("share"), [](const Row& r) { return real(r.share); }},
      {number("magnitude"), [](const Row& r) { return real(r.magnitude); }}};
  return make_table("magnitude_quantiles", {"layer", "half", "share"}, fields, rows);
}

}  // namespace kvviz::tables
