// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/engine/model_card.hpp"
#include "kvviz/engine/profile_work.hpp"
#include "kvviz/engine/serve/block_columns.hpp"
#include "kvviz/engine/serve/guard.hpp"
#include "kvviz/engine/serve/model_requests.hpp"
#include "kvviz/eval/simulate.hpp"
#include "kvviz/model/memory.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/serve/http_error.hpp"

namespace kvviz {
namespace {

using nlohmann::ordered_json;
using serve::Fields;
using serve::Reply;
using serve::Request;

constexpr int64_t longest_measured = 4096;

struct Wish {
  std::string id, text;
  int64_t tokens = 0, batch = 0, block = 0, columns = 0;
  ProfileMemories memories;
  bool weights = true;
};

Wish read_wish(const Request& request) {
  constexpr int64_t most_tokens = int64_t{1} << 20, most_sequences = 65536, most_block = 65536;
  constexpr size_t most_tiers = 8;
  const ProfileOptions none;
  std::vector<std::string> dtypes;
  for (const analysis::CacheType& type : analysis::cache_types()) dtypes.emplace_back(type.name);
  Fields fields(request);
  Wish wish;
  wish.id = fields.text("id", longest_id, "");
  wish.text = fields.text("text", longest_text, "");
  wish.tokens = fields.integer("tokens", 1, most_tokens, 512);
  wish.memories.type = analysis::parse_cache_type(fields.word("dtype", dtypes, none.dtype));
  wish.batch = fields.integer("batch", 1, most_sequences, none.batch);
  wish.block = fields.integer("block", 1, most_block, none.block);
  wish.memories.tiers = parse_tiers(fields.texts("tiers", most_tiers, none.tiers), "the tier");
  wish.memories.l2 = *parse_size(none.l2);
  wish.weights = fields.yes("weights", true);
  wish.columns = fields.integer("columns", 1, 4096, 256);
  fields.done();
  return wish;
}

/// What a text did to the cache, and which keys it made sinks and heavy hitters.
struct Measured {
  analysis::MeasuredAccess access;
  std::vector<KeyMarks> marks;  ///< of the layers
};

Measured measure(Runs::Place& place, serve::Client& client, const ServedModel& model, const TextInput& text) {
  const auto turn = place.wait(client);
  const Decoder& decoder = model.runner.model.decoder;
  const auto& ids = text.tokens.ids;
  require_room(decoder.config(), std::ssize(ids));
  SimulationOptions options;
  options.on_layer = [&](int64_t done, int64_t total) {
    client.keep();
    client.progress("reading the text, layer by layer", done, total);
  };
  const SimulationResult result = computed([&] { return simulate(decoder, ids, {}, options); });
  Measured measured;
  measured.access.layers = std::ssize(decoder.config().layers);
  measured.access.kv_heads = std::ssize(result.keys) / measured.access.layers;
  measured.access.tokens = std::ssize(ids);
  for (const KeyUse& use : result.keys) {
    measured.access.reads.insert(measured.access.reads.end(), use.reads.begin(), use.reads.end());
    for (const double mass : use.later_mass) measured.access.mass.push_back(static_cast<float>(mass));
  }
  for (int64_t layer = 0; layer < measured.access.layers; ++layer)
    measured.marks.push_back(marks_of(result.keys, static_cast<int>(layer)));
  return measured;
}

ProfileSubject subject_of(const NamedModel& model, const Wish& wish) {
  ProfileSubject subject{.name = model.id, .architecture = model.config.architecture};
  subject.context = model.config.context;
  subject.parameters = model.config.parameters();
  subject.shape = cache_shape(model.config);
  subject.shape.sequences = wish.batch;
  if (wish.weights)
    subject.weights =
        analysis::weight_bytes(model.config.parameters(), own_type(model.folder), subject.shape.group);
  return subject;
}

/// A grid beyond that is no answer for a page.
void require_blocks(const NamedModel& model, const Wish& wish, int64_t tokens) {
  constexpr int64_t most = int64_t{1} << 22;
  const int64_t blocks = std::ssize(model.config.layers) * ((tokens + wish.block - 1) / wish.block);
  if (blocks > most)
    throw serve::bad_request("a cache of ", tokens, " tokens has ", blocks, " blocks of ", wish.block,
                             " tokens in all layers; at most ", most, " are placed. Give a larger block");
}

/// What a forward pass takes beside weights and cache, as kvviz does it: in f32, in pieces of a long text.
int64_t activation_bytes(const ModelConfig& config, int64_t tokens, int64_t sequences) {
  return model_memory(config, tokens, std::min(tokens, Session::piece_tokens), 0).working * sequences;
}

ordered_json summary_of(const Profiled& p, const ModelConfig& config) {
  const analysis::CacheShape& shape = p.subject.shape;
  const int64_t cache = cache_bytes(shape, p.memories.type, p.tokens);
  const int64_t weights = p.subject.weights.value_or(0);
  const int64_t activations = activation_bytes(config, p.tokens, shape.sequences);
  const auto of_layer = [&](const analysis::CacheLayer& layer) {
    return token_bytes(layer, p.memories.type, shape.group).total();
  };
  const int64_t first = of_layer(shape.layers.front());
  const bool alike = std::ranges::all_of(shape.layers, [&](const auto& l) { return of_layer(l) == first; });
  return {{"cache_bytes", cache},
          {"bytes_per_token", token_bytes(shape, p.memories.type).total()},
          {"bytes_per_token_layer", alike ? ordered_json(first) : ordered_json(nullptr)},
          {"key_bytes", cache / 2},
          {"value_bytes", cache / 2},
          {"weights_bytes", p.subject.weights ? ordered_json(weights) : ordered_json(nullptr)},
          {"activation_bytes", activations},
          {"total_bytes", cache + weights + activations},
          {"cache_to_weights",
           weights > 0 ? ordered_json(static_cast<double>(cache) / static_cast<double>(weights)) : nullptr}};
}

ordered_json tiers_of(const analysis::CacheProfile& profile) {
  auto list = ordered_json::array();
  for (size_t i = 0; i < profile.tiers.size(); ++i) {
    const analysis::MemoryTier& tier = profile.tiers[i];
    const analysis::TierLoad& load = profile.placements.front().load[i];
    list.push_back({{"name", tier.name},
                    {"capacity", tier.capacity},
                    {"bandwidth", tier.bytes_per_second},
                    {"blocks", load.blocks},
                    {"bytes", std::llround(load.held)},
                    {"step_seconds", serve::number_or_null(load.held / tier.bytes_per_second)}});
  }
  return list;
}

ordered_json layer_bytes_of(const Profiled& p) {
  auto list = ordered_json::array();
  for (const analysis::CacheLayer& layer : p.subject.shape.layers) {
    analysis::CacheShape one = p.subject.shape;
    one.layers = {layer};
    list.push_back(cache_bytes(one, p.memories.type, p.tokens));
  }
  return list;
}

ordered_json lengths_of(const Profiled& p, const ModelConfig& config) {
  auto list = ordered_json::array();
  for (const int64_t tokens : doubling_lengths(config.context)) {
    const int64_t cache = cache_bytes(p.subject.shape, p.memories.type, tokens);
    list.push_back({{"tokens", tokens},
                    {"cache_bytes", cache},
                    {"total_bytes", cache + p.subject.weights.value_or(0) +
                                        activation_bytes(config, tokens, p.subject.shape.sequences)}});
  }
  return list;
}

ordered_json header_of(const Profiled& p, const NamedModel& model, const Wish& wish, const Columns& columns) {
  const auto l2 = static_cast<double>(p.memories.l2);
  const auto cache = static_cast<double>(cache_bytes(p.subject.shape, p.memories.type, p.tokens));
  return {{"id", model.id},
          {"tokens", p.tokens},
          {"dtype", p.memories.type.name},
          {"context", model.config.context},
          {"block", wish.block},
          {"blocks_per_column", columns.blocks_per_column},
          {"summary", summary_of(p, model.config)},
          {"tiers", tiers_of(p.profile)},
          {"layer_bytes", layer_bytes_of(p)},
          {"layer_token_bytes", p.profile.grid.entry},
          {"l2", {{"bytes", p.memories.l2}, {"share", std::min(1.0, l2 / cache)}}},
          {"lengths", lengths_of(p, model.config)},
          {"measured", p.measured()}};
}

serve::Bytes message(const NamedModel& model, const Wish& wish, int64_t tokens,
                     const std::optional<Measured>& measured) {
  const Profiled p = profiled(wish.memories, subject_of(model, wish),
                              {.tokens = tokens,
                               .lengths = {},
                               .block = wish.block,
                               .first_tokens = ProfileOptions().first_tokens,
                               .access = measured ? &measured->access : nullptr});
  const Columns columns =
      columns_of(p.profile, wish.columns, wish.block,
                 measured ? std::span<const KeyMarks>(measured->marks) : std::span<const KeyMarks>());
  const std::vector<int64_t> shape{columns.layers, columns.columns};
  std::vector<serve::MatrixArray> arrays{{"tier", shape, std::span<const uint8_t>(columns.tier)}};
  if (measured) {
    arrays.push_back({"reads", shape, std::span<const float>(columns.reads)});
    arrays.push_back({"attention", shape, std::span<const float>(columns.attention)});
    arrays.push_back({"mark", shape, std::span<const uint8_t>(columns.mark)});
  }
  return serve::matrices(header_of(p, model, wish, columns), arrays);
}

Reply profile(ServeState& state, const Request& request) {
  const Wish wish = read_wish(request);
  const NamedModel model = named_model(state, wish.id);
  if (wish.text.empty()) {
    require_blocks(model, wish, wish.tokens);
    return {message(model, wish, wish.tokens, std::nullopt)};
  }
  const auto loaded = state.model.loaded();
  if (loaded->id != model.id)
    throw serve::bad_request("a text is measured with the loaded model, ", loaded->id, "; id names ",
                             model.id, ". Load that, or leave the text out");
  const TextInput text = request_text(*loaded, wish.text, longest_measured);
  require_blocks(model, wish, std::ssize(text.tokens.ids));
  return {serve::MatrixWork([wish, model, loaded, text, place = state.runs.queue()](serve::Client& client) {
    return message(model, wish, std::ssize(text.tokens.ids), measure(*place, client, *loaded, text));
  })};
}

}  // namespace

std::vector<serve::Route> profile_routes(ServeState& state) {
  return {{"POST", "/api/profile", [&](const Request& r) { return profile(state, r); }}};
}

}  // namespace kvviz
