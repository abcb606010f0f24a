// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/analyze.hpp"
#include "kvviz/io/result_file.hpp"

namespace kvviz {
namespace {

using Vectors = std::vector<std::vector<double>>;

// Rows of one length as a matrix; rows that differ (layers of different sizes) are written one by one.
void add_rows(io::ArrayFileWriter& file, const io::ArrayMeta& meta, const Vectors& rows) {
  if (rows.empty() || rows.front().empty()) return;
  const size_t length = rows.front().size();
  const bool even =
      std::all_of(rows.begin(), rows.end(), [&](const auto& row) { return row.size() == length; });
  if (even) {
    std::vector<double> all;
    for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
    const int64_t shape[] = {static_cast<int64_t>(rows.size()), static_cast<int64_t>(length)};
    file.add(meta, shape, all);
    return;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    io::ArrayMeta one = meta;
    one.name += cat('_', i);
    one.axes.erase(one.axes.begin());
    const int64_t shape[] = {static_cast<int64_t>(rows[i].size())};
    file.add(one, shape, rows[i]);
  }
}

template <class Rows, class Get>
Vectors collect(const Rows& rows, Get get) {
  Vectors all;
  for (const auto& row : rows) all.push_back(get(row));
  return all;
}

void add_tokens(io::ArrayFileWriter& file, const analysis::TokensResult& tokens) {
  const auto add = [&](const char* name, const char* meaning, auto get) {
    add_rows(file, {name, {"layer", "token"}, "", meaning}, collect(tokens.layers, get));
  };
  add("tokens/k_norm", "norm of the token's key, mean over KV heads", [](const auto& l) { return l.k_norm; });
  add("tokens/v_norm", "norm of the token's value, mean over KV heads",
      [](const auto& l) { return l.v_norm; });
  add("tokens/legacy_k_sparsity", "legacy: share of key elements below the threshold",
      [](const auto& l) { return l.legacy_k_sparsity; });
  add("tokens/legacy_v_sparsity", "legacy: share of value elements below the threshold",
      [](const auto& l) { return l.legacy_v_sparsity; });
}

void add_attention(io::ArrayFileWriter& file, const Subject& subject,
                   const analysis::AttentionResult& attention) {
  add_rows(file,
           {"attention/received",
            {"layer", "key"},
            "",
            "mass per query that can see the key, mean over query heads"},
           collect(attention.layers, [](const auto& l) { return l.received; }));
  add_rows(file, {"attention/value_weighted", {"layer", "key"}, "", "received times the norm of the value"},
           collect(attention.layers, [](const auto& l) { return l.value_weighted; }));
  add_rows(file, {"attention/recent", {"layer", "key"}, "", "mass per query of the last queries"},
           collect(attention.layers, [](const auto& l) { return l.recent; }));
  Vectors mass, top;
  for (const auto& layer : subject.attention)
    for (const auto& head : layer) {
      mass.push_back(head.key_mass);
      top.push_back(head.top_mass);
    }
  add_rows(file,
           {"attention/key_mass",
            {"layer_and_head", "key"},
            "",
            "attention summed over queries; rows as in the table attention_heads"},
           mass);
  add_rows(file,
           {"attention/top_mass",
            {"layer_and_head", "log2_keys"},
            "",
            "mean mass of the 2^b heaviest keys; rows as in the table attention_heads"},
           top);
  for (size_t l = 0; l < subject.attention.size(); ++l) {
    std::vector<double> maps;
    for (const auto& head : subject.attention[l]) maps.insert(maps.end(), head.map.begin(), head.map.end());
    if (maps.empty()) continue;
    const auto heads = static_cast<int64_t>(subject.attention[l].size());
    const auto bins = static_cast<int64_t>(
        std::llround(std::sqrt(static_cast<double>(maps.size()) / static_cast<double>(heads))));
    const int64_t shape[] = {heads, bins, bins};
    file.add({cat("attention/map_", l),
              {"head", "query_bin", "key_bin"},
              "",
              "mean mass of a query bin on a key bin"},
             shape, maps);
  }
}

void add_channels(io::ArrayFileWriter& file, const analysis::ChannelsResult& channels) {
  const auto add = [&](const char* name, const char* meaning, auto get) {
    add_rows(file, {name, {"layer_and_head", "channel"}, "", meaning}, collect(channels.rows, get));
  };
  add("channels/k_rms", "root mean square over the tokens", [](const auto& r) { return r.key.rms; });
  add("channels/v_rms", "root mean square over the tokens", [](const auto& r) { return r.value.rms; });
  add("channels/k_abs_max", "largest magnitude", [](const auto& r) { return r.key.abs_max; });
  add("channels/v_abs_max", "largest magnitude", [](const auto& r) { return r.value.abs_max; });
  add("channels/k_pair_rms", "root mean square of a RoPE pair, by frequency",
      [](const auto& r) { return r.key_pair_rms; });
}

}  // namespace

bool has_arrays(const Subject& subject, const Analyses& a) {
  return a.tokens || a.attention || a.channels || subject.scores;
}

void write_arrays(const std::filesystem::path& path, const Subject& subject, const Analyses& a) {
  io::ArrayFileWriter file(path, "analyze");
  const auto& ids = subject.cache.tokens.ids;
  const int64_t count[] = {static_cast<int64_t>(ids.size())};
  file.add({"tokens/id", {"token"}, "", "token ids"}, count, ids);
  if (subject.scores) {
    const int64_t predictions[] = {static_cast<int64_t>(subject.scores->nll.size())};
    file.add({"tokens/nll", {"prediction"}, "nats", "negative log-likelihood of token i + 1"}, predictions,
             subject.scores->nll);
  }
  if (a.tokens) add_tokens(file, *a.tokens);
  if (a.attention) add_attention(file, subject, *a.attention);
  if (a.channels) add_channels(file, *a.channels);
  file.commit();
}

}  // namespace kvviz
