// SPDX-License-Identifier: MIT
#include <algorithm>
#include <limits>
#include <numeric>

#include "kvviz/engine/serve/guard.hpp"
#include "kvviz/engine/serve/state.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/serve/http_error.hpp"
#include "kvviz/stats/received_attention.hpp"

namespace kvviz {
namespace {

using kernels::HeadAttention;
using nlohmann::ordered_json;
using serve::Fields;
using serve::Reply;
using serve::Request;

constexpr int64_t longest = 4096;

double mean(std::span<const float> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Mean over heads of a head's mean over its queries.
double mean(std::span<const HeadAttention> heads, std::vector<float> HeadAttention::*numbers) {
  double sum = 0;
  for (const HeadAttention& head : heads) sum += mean(head.*numbers);
  return sum / static_cast<double>(heads.size());
}

/// Mean over heads of one array that each has, added to `to`.
void add_mean(std::span<const HeadAttention> heads, std::vector<double> HeadAttention::*numbers,
              std::span<double> to) {
  const auto count = static_cast<double>(heads.size());
  for (const HeadAttention& head : heads)
    for (size_t i = 0; i < to.size(); ++i) to[i] += (head.*numbers)[i] / count;
}

struct Pass {
  const ServedModel& model;
  const TextInput& text;
  int64_t bins = 0;  ///< of the maps
  Session::Watch watch;
};

/// The whole text at once, in a turn of its own. `on_attention` of the watch gets what is measured.
void run(Runs::Place& place, serve::Client& client, Pass pass) {
  const auto turn = place.wait(client);
  const Decoder& decoder = pass.model.runner.model.decoder;
  require_room(decoder.config(), std::ssize(pass.text.tokens.ids));
  const auto layers = std::ssize(decoder.config().layers);
  int64_t done = 0;
  pass.watch.attention.statistics = true;
  pass.watch.attention.map_bins = pass.bins;
  pass.watch.attention.sampled_queries = 0;
  pass.watch.all_hidden = false;
  pass.watch.on_layer = [&] {
    client.keep();
    client.progress("reading the text, layer by layer", ++done, layers);
  };
  computed([&] {
    Session session(decoder);
    session.extend(pass.text.tokens.ids, pass.watch);
  });
}

// --- POST /api/attention

/// Which query heads: one, all, or their mean.
struct HeadChoice {
  bool mean = false;
  std::vector<int64_t> heads;
};

HeadChoice heads_of(const Request& request, Fields& fields, int64_t heads) {
  HeadChoice choice;
  const auto at = request.fields.find("heads");
  if (at != request.fields.end() && at->is_number()) {
    choice.heads = {fields.integer("heads", 0, heads - 1, 0)};
    return choice;
  }
  choice.mean = fields.word("heads", {"all", "mean"}, "all") == "mean";
  choice.heads.resize(static_cast<size_t>(heads));
  std::iota(choice.heads.begin(), choice.heads.end(), int64_t{0});
  return choice;
}

/// Of the groups of heads that an answer shows.
struct Shown {
  std::vector<float> maps;
  std::vector<double> entropy, sink_mass, distance;

  void add(std::span<const HeadAttention> heads) {
    std::vector<double> map(heads.front().map.size());
    add_mean(heads, &HeadAttention::map, map);
    std::ranges::transform(map, std::back_inserter(maps), [](double x) { return static_cast<float>(x); });
    entropy.push_back(mean(heads, &HeadAttention::entropy));
    sink_mass.push_back(mean(heads, &HeadAttention::sink_mass));
    distance.push_back(mean(heads, &HeadAttention::distance));
  }
};

struct LayerWish {
  std::shared_ptr<const ServedModel> model;
  TextInput text;
  int layer = 0;
  int64_t bins = 0;
  HeadChoice heads;
};

LayerWish read_layer_wish(const ServeState& state, const Request& request) {
  LayerWish wish{.model = state.model.loaded()};
  const ModelConfig& config = wish.model->runner.model.decoder.config();
  Fields fields(request);
  const std::string text = fields.text("text", longest_text);
  wish.layer = request_layer(fields, config, -1);
  wish.heads = heads_of(request, fields, config.layers[static_cast<size_t>(wish.layer)].heads);
  wish.bins = fields.integer("bins", 1, 512, 256);
  fields.done();
  wish.text = request_text(*wish.model, text, longest);
  return wish;
}

serve::Bytes one_layer(Runs::Place& place, const LayerWish& wish, serve::Client& client) {
  Shown shown;
  Session::Watch watch;
  watch.only_layer = wish.layer;
  watch.on_attention = [&](int, const std::vector<HeadAttention>& heads) {
    if (wish.heads.mean) return shown.add(heads);
    for (const int64_t head : wish.heads.heads)
      shown.add(std::span(heads).subspan(static_cast<size_t>(head), 1));
  };
  run(place, client, {*wish.model, wish.text, wish.bins, watch});

  const auto size = std::min(wish.bins, static_cast<int64_t>(std::ssize(wish.text.tokens.ids)));
  ordered_json header{
      {"layer", wish.layer},
      {"heads", wish.heads.mean ? ordered_json{"mean"} : ordered_json(wish.heads.heads)},
      {"tokens", wish.text.tokens.text},
      {"statistics",
       {{"entropy", shown.entropy}, {"sink_mass", shown.sink_mass}, {"distance", shown.distance}}}};
  return serve::matrices(
      std::move(header),
      {{"attention", {std::ssize(shown.entropy), size, size}, std::span<const float>(shown.maps)}});
}

// --- POST /api/attention/layers

constexpr double sink_threshold = 0.10, heavy_threshold = 0.05;

/// A layer, or the mean over layers.
struct LayerAttention {
  double entropy = 0, small_share = 0, top5_mass = 0, first_mass = 0;
  stats::ReceivedAttention received;
};

LayerAttention measured(std::span<const HeadAttention> heads) {
  LayerAttention layer{.entropy = mean(heads, &HeadAttention::entropy),
                       .small_share = mean(heads, &HeadAttention::small_share),
                       .top5_mass = mean(heads, &HeadAttention::heaviest_mass),
                       .first_mass = mean(heads, &HeadAttention::first_mass)};
  layer.received.mass.assign(heads.front().key_mass.size(), 0);
  add_mean(heads, &HeadAttention::key_mass, layer.received.mass);
  layer.received.own.assign(layer.received.mass.size(), 0);
  for (const HeadAttention& head : heads)
    for (size_t i = 0; i < head.self_mass.size(); ++i)
      layer.received.own[i] += static_cast<double>(head.self_mass[i]) / static_cast<double>(heads.size());
  return layer;
}

LayerAttention mean_of(std::span<const LayerAttention> layers) {
  const auto count = static_cast<double>(layers.size());
  const size_t keys = layers.front().received.mass.size();
  LayerAttention all{.received = {std::vector<double>(keys), std::vector<double>(keys)}};
  for (const LayerAttention& layer : layers) {
    all.entropy += layer.entropy / count;
    all.small_share += layer.small_share / count;
    all.top5_mass += layer.top5_mass / count;
    all.first_mass += layer.first_mass / count;
    for (size_t i = 0; i < keys; ++i) {
      all.received.mass[i] += layer.received.mass[i] / count;
      all.received.own[i] += layer.received.own[i] / count;
    }
  }
  return all;
}

ordered_json json_of(const LayerAttention& layer) {
  const auto sinks = stats::received_sinks(layer.received, sink_threshold);
  return {{"entropy", layer.entropy},
          {"small_share", layer.small_share},
          {"top5_mass", layer.top5_mass},
          {"first_mass", layer.first_mass},
          {"sinks", sinks},
          {"heavy", stats::received_heavy(layer.received, heavy_threshold, sinks)}};
}

struct LayersWish {
  std::shared_ptr<const ServedModel> model;
  TextInput text;
  int64_t bins = 0;
};

LayersWish read_layers_wish(const ServeState& state, const Request& request) {
  LayersWish wish{.model = state.model.loaded()};
  Fields fields(request);
  const std::string text = fields.text("text", longest_text);
  wish.bins = fields.integer("bins", 1, 256, 80);
  fields.done();
  wish.text = request_text(*wish.model, text, longest);
  return wish;
}

serve::Bytes all_layers(Runs::Place& place, const LayersWish& wish, serve::Client& client) {
  Shown shown;
  std::vector<LayerAttention> layers;
  Session::Watch watch;
  watch.attention.heaviest_keys = 5;
  watch.on_attention = [&](int, const std::vector<HeadAttention>& heads) {
    shown.add(heads);
    layers.push_back(measured(heads));
  };
  run(place, client, {*wish.model, wish.text, wish.bins, watch});

  auto rows = ordered_json::array();
  for (const LayerAttention& layer : layers) {
    ordered_json row{{"layer", rows.size()}};
    row.update(json_of(layer));
    rows.push_back(std::move(row));
  }
  const auto size = std::min(wish.bins, static_cast<int64_t>(std::ssize(wish.text.tokens.ids)));
  return serve::matrices(
      {{"tokens", wish.text.tokens.text}, {"layers", std::move(rows)}, {"mean", json_of(mean_of(layers))}},
      {{"attention", {std::ssize(layers), size, size}, std::span<const float>(shown.maps)}});
}

}  // namespace

std::vector<serve::Route> attention_routes(ServeState& state) {
  // Refused with a status of its own as long as nothing is computed.
  const auto route = [&state](const char* path, auto read, auto answer) {
    return serve::Route{
        "POST", path, [&state, read, answer](const Request& request) {
          const auto wish = read(state, request);
          return Reply{serve::MatrixWork([answer, wish, place = state.runs.queue()](serve::Client& client) {
            return answer(*place, wish, client);
          })};
        }};
  };
  return {route("/api/attention", read_layer_wish, one_layer),
          route("/api/attention/layers", read_layers_wish, all_layers)};
}

}  // namespace kvviz
