// SPDX-License-Identifier: MIT
#include "kvviz/engine/serve/served_model.hpp"

#include "kvviz/model/arch.hpp"
#include "kvviz/serve/reply.hpp"

namespace kvviz {
namespace {

int64_t bytes_of_weights(const Decoder& decoder) {
  ModelWeights weights = decoder.weights();  // the tensors themselves are shared
  int64_t bytes = 0;
  for (const WeightSlot& slot : weight_slots(decoder.config(), weights))
    bytes += static_cast<int64_t>(slot.target->nbytes());
  return bytes;
}

std::string tokenizer_text(const Tokenizer& tokenizer) {
  return cat(tokenizer.vocabulary(), " tokens, ",
             tokenizer.adds_bos() ? "a BOS is put first" : "no BOS is put first");
}

}  // namespace

std::shared_ptr<const ServedModel> ModelSlot::get() const {
  const std::lock_guard lock(mutex_);
  return model_;
}

std::shared_ptr<const ServedModel> ModelSlot::loaded() const {
  const std::lock_guard lock(mutex_);
  if (model_) return model_;
  if (!loading_.empty()) throw serve::conflict(loading_, " is being loaded; wait until it is there");
  throw serve::conflict("no model is loaded; load one: POST /api/models/load",
                        error_.empty() ? "" : ". The last load failed: ", error_);
}

void ModelSlot::begin(const std::string& id) {
  const std::lock_guard lock(mutex_);
  if (!loading_.empty())
    throw serve::conflict(loading_, " is being loaded; ", id,
                          " has to wait until it is there, or until whoever loads it goes away");
  loading_ = id;
  error_.clear();
  progress_ = {.what = "starting"};
}

void ModelSlot::progress(const std::string& what, int64_t done, int64_t total) {
  const std::lock_guard lock(mutex_);
  progress_ = {what, done, total};
}

// What another was the last to hold is freed after the lock: that can take as long as its hash does.
void ModelSlot::finish(std::shared_ptr<const ServedModel> model, const std::string& error) {
  const std::lock_guard lock(mutex_);
  if (model) model_.swap(model);
  loading_.clear();
  error_ = error;
}

void ModelSlot::unload() {
  std::shared_ptr<const ServedModel> model;
  const std::lock_guard lock(mutex_);
  model_.swap(model);
  error_.clear();
}

nlohmann::ordered_json ModelSlot::state() const {
  std::shared_ptr<const ServedModel> model;
  nlohmann::ordered_json state;
  {
    const std::lock_guard lock(mutex_);
    model = model_;
    const char* name = !loading_.empty() ? "loading" : model_ ? "ready" : "none";
    state = {{"state", name}, {"model", nullptr}};
    if (!loading_.empty()) {
      state["loading"] = loading_;
      state["progress"] = serve::progress_object(progress_.what, progress_.done, progress_.total);
    }
    if (!error_.empty()) state["error"] = error_;
  }
  if (model) state["model"] = card_of(*model);
  return state;
}

nlohmann::ordered_json card_of(const ServedModel& model) {
  const LoadedModel& loaded = model.runner.model;
  const ModelConfig& config = loaded.decoder.config();
  const LayerConfig& first = config.layers.front();
  return {{"id", model.id},
          {"architecture", config.architecture},
          {"family", architecture_of(config).classes.front().type},
          {"layers", config.layers.size()},
          {"query_heads", first.heads},
          {"kv_heads", first.kv_heads},
          {"head_dim", first.head_dim},
          {"hidden", config.hidden},
          {"vocabulary", config.vocabulary},
          {"context", config.context},
          {"parameters", config.parameters()},
          {"dtype", loaded.dtype},
          {"device", loaded.decoder.device().str()},
          {"weights_bytes", bytes_of_weights(loaded.decoder)},
          {"bytes_per_token", config.cache_bytes_per_token(sizeof(float))},
          {"tokenizer", tokenizer_text(*model.runner.tokenizer)}};
}

}  // namespace kvviz
