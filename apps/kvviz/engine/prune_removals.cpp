// SPDX-License-Identifier: MIT
#include <algorithm>
#include <charconv>
#include <numeric>
#include <span>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/prune_study.hpp"

namespace kvviz {
namespace {

/// What a list of an option counts.
struct Indexed {
  const char* option;
  const char* what;  ///< plural
  int64_t count;
  const char* hint = "";  ///< to who wrote no index
};

/// "3" or "0-5". Throws UsageError.
std::pair<int64_t, int64_t> range_of(const std::string& text, const Indexed& of) {
  int64_t first = 0, last = 0;
  const char* const end = text.data() + text.size();
  auto at = std::from_chars(text.data(), end, first);
  last = first;
  if (at.ec == std::errc() && at.ptr != end && *at.ptr == '-') at = std::from_chars(at.ptr + 1, end, last);
  require<UsageError>(at.ec == std::errc() && at.ptr == end && first >= 0 && first <= last, of.option, ' ',
                      text, ": expected an index or a range such as 0-3, from 0 to ", of.count - 1, of.hint);
  require<UsageError>(last < of.count, of.option, ' ', text, ": there are ", of.count, ' ', of.what,
                      ", 0 to ", of.count - 1);
  return {first, last};
}

/// Ascending.
std::vector<int> indices_of(const std::vector<std::string>& texts, const Indexed& of) {
  std::vector<int> all;
  for (const std::string& text : texts) {
    const auto [first, last] = range_of(text, of);
    for (int64_t i = first; i <= last; ++i) all.push_back(static_cast<int>(i));
  }
  std::ranges::sort(all);
  const auto twice = std::ranges::adjacent_find(all);
  require<UsageError>(twice == all.end(), of.option, " names ", twice == all.end() ? 0 : *twice, " twice");
  return all;
}

int64_t most(const ModelConfig& model, int64_t LayerConfig::*count) {
  return std::ranges::max(model.layers, {}, count).*count;
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ",") + text;
  return all;
}

std::string place_of(const PruneOptions& o, bool with_heads) {
  std::string place;
  if (with_heads && !o.heads.empty()) place += "/heads:" + joined(o.heads);
  if (!o.layers.empty()) place += "/layers:" + joined(o.layers);
  return place;
}

std::vector<int> tokens_of(const PruneOptions& o, int64_t prefix) {
  return indices_of(o.tokens,
                    {"--tokens", "tokens in the prefix", prefix, "; a file of token ids is --token-ids"});
}

/// Everything that the options name.
Removal everything(const PruneOptions& o, const ModelConfig& model, int64_t prefix) {
  Removal all{
      .layers = indices_of(o.layers, {"--layers", "layers", std::ssize(model.layers)}),
      .heads = indices_of(o.heads, {"--heads", "KV heads", most(model, &LayerConfig::kv_heads)}),
      .query_heads =
          indices_of(o.query_heads, {"--query-heads", "query heads", most(model, &LayerConfig::heads)}),
      .tokens = tokens_of(o, prefix),
      .channels = indices_of(o.channels, {"--channels", "channels", most(model, &LayerConfig::head_dim)}),
      .threshold_percent = o.threshold.value_or(o.prune_method == "threshold" ? 1 : 0),
      .keys = o.sides != "values",
      .values = o.sides != "keys"};
  validate(all, model, prefix);
  return all;
}

Removal only(const Removal& all, std::vector<int> Removal::*part) {
  Removal one = all;
  one.query_heads.clear(), one.tokens.clear(), one.channels.clear();
  one.threshold_percent = 0;
  if (part != nullptr) one.*part = all.*part;
  return one;
}

std::string of_sides(const Removal& all) {
  return all.keys && all.values ? "keys and values" : all.keys ? "keys" : "values";
}

std::string side_suffix(const PruneOptions& o) {
  return o.sides == "both" ? "" : ":" + o.sides;
}

/// Says whether memory is saved.
std::string query_heads_summary(const Removal& all, const ModelConfig& model) {
  for (size_t l = 0; l < model.layers.size(); ++l) {
    if (!all.layers.empty() && std::ranges::count(all.layers, static_cast<int>(l)) == 0) continue;
    const LayerConfig& shape = model.layers[l];
    const int64_t group = shape.heads / shape.kv_heads;
    for (int64_t g = 0; g < shape.kv_heads; ++g)
      if (std::ranges::count_if(all.query_heads, [&](int head) { return head / group == g; }) == group)
        return "query heads, all of some KV head";
  }
  return "query heads: their KV heads stay, nothing is saved";
}

SweepTarget channel_target(int layer, int64_t first, int64_t last, analysis::Half half) {
  const bool keys = half == analysis::Half::key;
  std::vector<int> channels(static_cast<size_t>(last - first + 1));
  std::iota(channels.begin(), channels.end(), static_cast<int>(first));
  const std::string span = first == last ? cat(first) : cat(first, '-', last);
  return {{.layer = layer, .first_channel = first, .last_channel = last, .half = half},
          {.name = cat("layer:", layer, keys ? "/keys:" : "/values:", span),
           .summary = cat("layer ", layer, first == last ? ", channel " : ", channels ", span,
                          keys ? " of keys" : " of values"),
           .removal = {.layers = {layer}, .channels = std::move(channels), .keys = keys, .values = !keys}}};
}

void add_channels(std::vector<SweepTarget>& targets, int layer, const PruneOptions& o,
                  const LayerConfig& shape) {
  require<UsageError>(o.channel_block <= shape.head_dim, "--channel-block ", o.channel_block,
                      ": a head of layer ", layer, " has ", shape.head_dim, " channels");
  const int64_t block = o.channel_block > 0 ? o.channel_block : std::max<int64_t>(1, shape.head_dim / 16);
  for (const analysis::Half half : {analysis::Half::key, analysis::Half::value}) {
    if (o.sides == (half == analysis::Half::key ? "values" : "keys")) continue;
    for (int64_t first = 0; first < shape.head_dim; first += block)
      targets.push_back(channel_target(layer, first, std::min(first + block, shape.head_dim) - 1, half));
  }
}

}  // namespace

void check_tokens(const PruneOptions& o, int64_t prefix) {
  tokens_of(o, prefix);
}

std::vector<NamedRemoval> removals_of(const PruneOptions& o, const ModelConfig& model, int64_t prefix) {
  const Removal all = everything(o, model, prefix);
  std::vector<NamedRemoval> parts;
  if (all.whole_heads()) {
    const std::string place = place_of(o, true);
    parts.push_back({place.substr(1), "whole KV heads", all});
  }
  if (!all.query_heads.empty())
    parts.push_back({"query_heads:" + joined(o.query_heads) + place_of(o, false),
                     query_heads_summary(all, model), only(all, &Removal::query_heads)});
  if (!all.tokens.empty())
    parts.push_back(
        {"tokens:" + joined(o.tokens) + place_of(o, true), "tokens", only(all, &Removal::tokens)});
  if (!all.channels.empty())
    parts.push_back({"channels:" + joined(o.channels) + side_suffix(o) + place_of(o, true),
                     "channels of " + of_sides(all), only(all, &Removal::channels)});
  if (all.threshold_percent > 0) {
    Removal small = only(all, nullptr);
    small.threshold_percent = all.threshold_percent;
    parts.push_back({cat("threshold:", all.threshold_percent, side_suffix(o), place_of(o, true)),
                     "small elements of " + of_sides(all), small});
  }
  std::vector<NamedRemoval> named{{"nothing", "the cache as it is", {}}};
  named.insert(named.end(), parts.begin(), parts.end());
  if (parts.size() > 1) named.push_back({"all", "all of the above", all});
  return named;
}

std::vector<SweepTarget> sweep_targets(const PruneOptions& o, const ModelConfig& model) {
  std::vector<int> layers = indices_of(o.layers, {"--layers", "layers", std::ssize(model.layers)});
  if (layers.empty()) {
    layers.resize(model.layers.size());
    std::iota(layers.begin(), layers.end(), 0);
  }
  std::vector<SweepTarget> targets;
  for (const int layer : layers) {
    const LayerConfig& shape = model.layers[static_cast<size_t>(layer)];
    if (o.sweep == "layers") {
      targets.push_back(
          {{.layer = layer}, {cat("layer:", layer), cat("layer ", layer), {.layers = {layer}}}});
    } else if (o.sweep == "heads") {
      for (int head = 0; head < shape.kv_heads; ++head)
        targets.push_back({{.layer = layer, .head = head},
                           {cat("layer:", layer, "/head:", head),
                            cat("layer ", layer, ", KV head ", head),
                            {.layers = {layer}, .heads = {head}}}});
    } else {
      add_channels(targets, layer, o, shape);
    }
  }
  return targets;
}

}  // namespace kvviz
