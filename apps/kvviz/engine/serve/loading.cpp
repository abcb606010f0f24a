// SPDX-License-Identifier: MIT
#include "kvviz/engine/serve/loading.hpp"

#include <algorithm>
#include <cstdio>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/engine/serve/guard.hpp"
#include "kvviz/engine/serve/local_models.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/model/memory.hpp"
#include "kvviz/network.hpp"
#include "kvviz/serve/http_error.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

/// nullopt: not on this machine, or not all of it.
std::optional<LocalModel> whole_model(const ServeOptions& options, const std::string& id) {
  auto model = find_local(options, id);
  if (model && model->source == "cache" && !is_whole(*model)) return std::nullopt;
  return model;
}

LocalModel fetched(const ServeOptions& options, const ModelWish& wish, const LoadProgress& progress,
                   const std::stop_token& stop) {
  if (auto model = whole_model(options, wish.id)) return *model;
  require(wish.download, wish.id, " is not whole on this machine; download it: kvviz models pull ", wish.id);
  progress("downloading", 0, 0);
  pull_from_hub(
      {hub::parse_model_name(wish.id), wish.token},
      [&](int64_t done, int64_t total) { progress("downloading", done, total); }, stop);
  return require_local(options, wish.id);
}

OpenedFolder opened(const ServeOptions& options, const ModelWish& wish, const LocalModel& local) {
  ModelOptions model = options.model;
  model.model = wish.id;
  model.device = wish.device;
  model.dtype = wish.dtype;
  ModelConfig config = load_config(local.place);
  auto tokenizer = open_tokenizer(local.place);
  return {local.place, wish.id, std::move(config), std::move(tokenizer), model, device_of(wish.device)};
}

}  // namespace

void check(const ServeOptions& options, const ModelWish& wish) {
  static_cast<void>(device_of(wish.device));
  const auto local = whole_model(options, wish.id);
  if (local) return;
  if (!hub::is_model_name(wish.id))
    throw serve::bad_request(
        "'", shown(wish.id),
        "' is no id of a model; expected one of GET /api/models, or name or owner/name of "
        "the hub");
  if (!wish.download)
    throw serve::not_found(wish.id, " is not on this machine, and the request says not to download it");
  const std::string offline = hub::offline_by(hub::process_environment());
  require(offline.empty(), wish.id, " is not on this machine, and ", offline, " forbids connections");
}

std::shared_ptr<const ServedModel> read_served_model(const ServeOptions& options, const ModelWish& wish,
                                                     const LoadProgress& progress, std::stop_token stop) {
  return computed([&] {
    const LocalModel local = fetched(options, wish, progress, stop);
    progress("reading the tokenizer", 0, 0);
    OpenedFolder folder = opened(options, wish, local);
    constexpr int64_t usual_text = 1024;
    const int64_t tokens = std::min(folder.config.context, usual_text);
    auto runner = load_runner(std::move(folder), tokens, 0, [&](int64_t done, int64_t total) {
      if (stop.stop_requested()) throw hub::Stopped();
      progress("reading the weights", done, total);
    });
    if (stop.stop_requested()) throw hub::Stopped();
    return std::make_shared<const ServedModel>(ServedModel{wish.id, local.place, std::move(runner)});
  });
}

void require_room(const ModelConfig& config, int64_t tokens) {
  const ModelMemory memory = model_memory(config, tokens, tokens, 0);
  const FreeMemory free = free_for_tensors(kernels::thread_count());
  const auto size = [](int64_t bytes) { return size_text(static_cast<double>(bytes)); };
  require(memory.total() <= free.bytes, "a text of ", tokens, " tokens needs about ", size(memory.total()),
          " of memory beside the weights (cache ", size(memory.cache), ", forward pass ",
          size(memory.working), "); ", free.limit, " leaves ", size(free.bytes),
          ". A shorter text needs less");
}

void load_first_model(ServeState& state) {
  const ServeOptions& options = state.options;
  if (options.model.model == "none") return;
  std::optional<Loading> loading;
  try {
    loading.emplace(state.model, options.model.model);
    const LocalModel model = first_model(options);
    const ModelWish wish{model.id, options.model.device, options.model.dtype, false, {}};
    loading->put(read_served_model(
        options, wish,
        [&](const std::string& what, int64_t done, int64_t total) { loading->progress(what, done, total); },
        {}));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kvviz serve: %s\n", error.what());
    if (loading) loading->fail(error.what());
  }
}

}  // namespace kvviz
