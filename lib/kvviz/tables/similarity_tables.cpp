// SPDX-License-Identifier: MIT
#include "kvviz/tables/similarity_tables.hpp"

#include <cmath>

#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr Half kHalves[] = {Half::key, Half::value};
constexpr const char* kConstant = "the keys or values of one do not vary over the tokens";
constexpr const char* kAlone = "in no group";
constexpr const char* kNoOther = "there is no other";

/// The other item that is most alike; -1: none is a number.
int64_t nearest(std::span<const double> alike, int64_t items, int64_t item) {
  int64_t best = -1;
  for (int64_t i = 0; i < items; ++i) {
    const double value = alike[item * items + i];
    if (i == item || std::isnan(value)) continue;
    if (best < 0 || value > alike[item * items + best]) best = i;
  }
  return best;
}

/// An item of a side, its group and its nearest neighbour.
struct Member {
  Half half = Half::key;
  int64_t item = 0, group = -1, size = 0, nearest = -1;
  double similarity = kNone;
};

Member member_of(Half half, int64_t item, int64_t group, const Grouping& grouping,
                 std::span<const double> alike) {
  Member m{.half = half, .item = item, .group = group, .nearest = nearest(alike, grouping.items, item)};
  if (m.group >= 0) m.size = std::ssize(grouping.groups[m.group]);
  if (m.nearest >= 0) m.similarity = alike[item * grouping.items + m.nearest];
  return m;
}

std::vector<Member> members(const SimilarityResult& result, Grouping SimilaritySide::*grouping,
                            std::vector<double> SimilaritySide::*alike) {
  std::vector<Member> all;
  for (const Half half : kHalves) {
    const SimilaritySide& side = result.side(half);
    const auto group_of = (side.*grouping).group_of();
    for (int64_t i = 0; i < (side.*grouping).items; ++i)
      all.push_back(member_of(half, i, group_of[i], side.*grouping, side.*alike));
  }
  return all;
}

Cell group_cell(int64_t group) {
  return group < 0 ? Cell(Null{kAlone}) : integer(group);
}

template <class Row>
Field<Row> side_field(Half Row::*half) {
  return {word("side"), [half](const Row& r) { return Cell(std::string(name_of(r.*half))); }};
}

}  // namespace

const char* name_of(Half half) {
  return half == Half::key ? "keys" : "values";
}

Table savings_table(const SimilarityResult& result) {
  using Row = SimilaritySaving;
  const std::vector<Field<Row>> fields = {
      {word("mechanism"), [](const Row& r) { return Cell(r.mechanism); }},
      side_field(&Row::half),
      {whole("items"), [](const Row& r) { return integer(r.items); }},
      {whole("groups"), [](const Row& r) { return integer(r.groups); }},
      {whole("grouped"), [](const Row& r) { return integer(r.grouped); }},
      {whole("removed"), [](const Row& r) { return integer(r.removed); }},
      {number("threshold"),
       [](const Row& r) {
         return std::isinf(r.threshold) ? Cell(Null{"two tokens correlate whatever they are"})
                                        : Cell(r.threshold);
       }},
      {whole("f16_bytes", "bytes"), [](const Row& r) { return integer(std::llround(r.f16_bytes)); }},
      {number("share"), [](const Row& r) { return Cell(r.share); }}};
  return make_table("savings", {"mechanism", "side"}, fields, savings(result));
}

Table similar_layers_table(const SimilarityResult& result) {
  using Row = Member;
  const std::vector<Field<Row>> fields = {
      side_field(&Row::half),
      {whole("layer"), [](const Row& r) { return integer(r.item); }},
      {whole("group"), [](const Row& r) { return group_cell(r.group); }},
      {whole("group_size"), [](const Row& r) { return integer(r.size); }},
      {whole("nearest"),
       [](const Row& r) { return r.nearest < 0 ? Cell(Null{kNoOther}) : integer(r.nearest); }},
      {number("excess"), [](const Row& r) { return real(r.similarity, kNoOther); }}};
  return make_table("layers", {"side", "layer"}, fields,
                    members(result, &SimilaritySide::layers, &SimilaritySide::layer_excess));
}

Table layer_pairs_table(const SimilarityResult& result) {
  struct Row {
    Half half;
    const LayerPair* pair;
  };
  std::vector<Row> rows;
  for (const Half half : kHalves)
    for (const LayerPair& pair : result.side(half).pairs) rows.push_back({half, &pair});
  const char* why = result.cka_reason.empty() ? kConstant : result.cka_reason.c_str();
  const auto cka = [why](const char* name, double stats::Cka::*value) {
    return Field<Row>{number(name),
                      [why, value](const Row& r) { return real(r.pair->alignment.cka.*value, why); }};
  };
  const auto angle = [](const char* name, const char* unit, double stats::SubspaceOverlap::*value) {
    return Field<Row>{number(name, unit), [value](const Row& r) {
                        return real(r.pair->subspace.*value,
                                    "too few tokens for a subspace, or nothing varies");
                      }};
  };
  const std::vector<Field<Row>> fields = {
      side_field(&Row::half),
      {whole("first"), [](const Row& r) { return integer(r.pair->first); }},
      {whole("second"), [](const Row& r) { return integer(r.pair->second); }},
      cka("cka", &stats::Cka::value),
      cka("chance", &stats::Cka::chance),
      cka("excess", &stats::Cka::excess),
      {number("deviations"),
       [](const Row& r) { return real(r.pair->alignment.deviations, "needs four tokens that vary"); }},
      angle("mean_cos2", "", &stats::SubspaceOverlap::mean_cos2),
      angle("cos2_chance", "", &stats::SubspaceOverlap::chance),
      angle("cos2_excess", "", &stats::SubspaceOverlap::excess),
      angle("largest_angle", "degrees", &stats::SubspaceOverlap::largest_angle),
      {whole("rank_first"), [](const Row& r) { return integer(r.pair->subspace.rank_a); }},
      {whole("rank_second"), [](const Row& r) { return integer(r.pair->subspace.rank_b); }}};
  return make_table("layer_pairs", {"side", "first", "second"}, fields, rows);
}

Table layer_prediction_table(const SimilarityResult& result) {
  struct Row {
    Half half;
    const LayerPrediction* p;
  };
  std::vector<Row> rows;
  for (const Half half : kHalves)
    for (const LayerPrediction& p : result.side(half).predictions) rows.push_back({half, &p});
  const std::vector<Field<Row>> fields = {
      side_field(&Row::half),
      {whole("layer"), [](const Row& r) { return integer(r.p->to); }},
      {whole("from"), [](const Row& r) { return integer(r.p->from); }},
      {number("r2"), [](const Row& r) { return real(r.p->prediction.r2, kConstant); }},
      {number("error"), [](const Row& r) { return real(std::sqrt(1 - r.p->prediction.r2), kConstant); }},
      {whole("components"), [](const Row& r) { return integer(r.p->prediction.components); }},
      {whole("fitted", "tokens"), [](const Row& r) { return integer(r.p->fitted); }},
      {whole("judged", "tokens"), [](const Row& r) { return integer(r.p->judged); }}};
  return make_table("layer_prediction", {"side", "layer"}, fields, rows);
}

Table similar_heads_table(const SimilarityResult& result) {
  using Row = Member;
  const auto head = [&result](int64_t item) { return result.heads[static_cast<size_t>(item)]; };
  const auto near = [head](const char* name, int HeadId::*part) {
    return Field<Row>{whole(name), [head, part](const Row& r) {
                        return r.nearest < 0 ? Cell(Null{kNoOther}) : integer(head(r.nearest).*part);
                      }};
  };
  const std::vector<Field<Row>> fields = {
      side_field(&Row::half),
      {whole("layer"), [head](const Row& r) { return integer(head(r.item).layer); }},
      {whole("head"), [head](const Row& r) { return integer(head(r.item).head); }},
      {whole("group"), [](const Row& r) { return group_cell(r.group); }},
      {whole("group_size"), [](const Row& r) { return integer(r.size); }},
      near("nearest_layer", &HeadId::layer),
      near("nearest_head", &HeadId::head),
      {number("excess"), [](const Row& r) { return real(r.similarity, kNoOther); }}};
  return make_table("heads", {"side", "layer", "head"}, fields,
                    members(result, &SimilaritySide::heads, &SimilaritySide::head_excess));
}

Table channel_correlation_table(const SimilarityResult& result) {
  struct Row {
    Half half;
    const HeadChannelsRow* head;
  };
  std::vector<Row> rows;
  for (const Half half : kHalves)
    for (const HeadChannelsRow& head : result.side(half).channels) rows.push_back({half, &head});
  const auto value = [](const char* name, double HeadChannelsRow::*member) {
    return Field<Row>{number(name), [member](const Row& r) {
                        return real(r.head->*member, "fewer than two channels vary over the tokens");
                      }};
  };
  const std::vector<Field<Row>> fields = {
      side_field(&Row::half),
      {whole("layer"), [](const Row& r) { return integer(r.head->layer); }},
      {whole("head"), [](const Row& r) { return integer(r.head->head); }},
      value("mean_abs_r", &HeadChannelsRow::mean_abs_r),
      value("chance", &HeadChannelsRow::chance),
      value("excess", &HeadChannelsRow::excess),
      value("max_abs_r", &HeadChannelsRow::max_abs_r),
      {whole("groups"), [](const Row& r) { return integer(r.head->groups); }},
      {whole("grouped"), [](const Row& r) { return integer(r.head->grouped); }}};
  return make_table("channels", {"side", "layer", "head"}, fields, rows);
}

Table similar_tokens_table(const SimilarityResult& result, std::span<const std::string> texts) {
  struct Row {
    size_t index;
    Member key, value;
  };
  const auto all = members(result, &SimilaritySide::tokens, &SimilaritySide::token_cosine);
  const size_t tokens = result.positions.size();
  std::vector<Row> rows;
  for (size_t i = 0; i < tokens; ++i) rows.push_back({i, all[i], all[tokens + i]});
  const auto group = [](const char* name, Member Row::*side) {
    return Field<Row>{whole(name), [side](const Row& r) { return group_cell((r.*side).group); }};
  };
  const auto near = [&result](const char* name, Member Row::*side) {
    return Field<Row>{whole(name), [side, &result](const Row& r) {
                        const int64_t other = (r.*side).nearest;
                        return other < 0 ? Cell(Null{kNoOther}) : integer(result.positions[other]);
                      }};
  };
  const auto cosine = [](const char* name, Member Row::*side) {
    return Field<Row>{number(name), [side](const Row& r) { return real((r.*side).similarity, kNoOther); }};
  };
  const std::vector<Field<Row>> fields = {
      {whole("position"), [&](const Row& r) { return integer(result.positions[r.index]); }},
      {word("text"),
       [&](const Row& r) {
         const auto position = static_cast<size_t>(result.positions[r.index]);
         return position < texts.size() ? Cell(texts[position]) : Cell(Null{"not in the cache file"});
       }},
      {number("sink_share"),
       [&](const Row& r) {
         return result.sink_share.empty() ? Cell(Null{"a cache file holds no queries"})
                                          : Cell(result.sink_share[r.index]);
       }},
      group("k_group", &Row::key),
      near("k_nearest", &Row::key),
      cosine("k_cosine", &Row::key),
      group("v_group", &Row::value),
      near("v_nearest", &Row::value),
      cosine("v_cosine", &Row::value)};
  return make_table("tokens", {"position"}, fields, rows);
}

Table query_heads_table(const SimilarityResult& result) {
  struct Row {
    int64_t item, nearest;
    double similarity, mean;
  };
  const int64_t n = std::ssize(result.query_heads);
  std::vector<Row> rows;
  for (int64_t i = 0; i < n; ++i) {
    Row row{i, nearest(result.attention, n, i), kNone, kNone};
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) sum += j == i ? 0 : result.attention[i * n + j];
    if (n > 1) row.mean = sum / static_cast<double>(n - 1);
    if (row.nearest >= 0) row.similarity = result.attention[i * n + row.nearest];
    rows.push_back(row);
  }
  const auto near = [&result](const char* name, int HeadId::*part) {
    return Field<Row>{whole(name), [part, &result](const Row& r) {
                        return r.nearest < 0 ? Cell(Null{kNoOther})
                                             : integer(result.query_heads[r.nearest].*part);
                      }};
  };
  const std::vector<Field<Row>> fields = {
      {whole("layer"), [&](const Row& r) { return integer(result.query_heads[r.item].layer); }},
      {whole("head"), [&](const Row& r) { return integer(result.query_heads[r.item].head); }},
      near("nearest_layer", &HeadId::layer),
      near("nearest_head", &HeadId::head),
      {number("similarity"), [](const Row& r) { return real(r.similarity, kNoOther); }},
      {number("mean_similarity"), [](const Row& r) { return real(r.mean, kNoOther); }}};
  return make_table("query_heads", {"layer", "head"}, fields, rows);
}

std::vector<Table> similarity_tables(const SimilarityResult& result, std::span<const std::string> texts) {
  std::vector<Table> all = {savings_table(result), similar_layers_table(result)};
  if (!result.key.pairs.empty()) all.push_back(layer_pairs_table(result));
  if (!result.key.predictions.empty()) all.push_back(layer_prediction_table(result));
  all.push_back(similar_heads_table(result));
  all.push_back(channel_correlation_table(result));
  all.push_back(similar_tokens_table(result, texts));
  if (!result.query_heads.empty()) all.push_back(query_heads_table(result));
  return all;
}

}  // namespace kvviz::tables
