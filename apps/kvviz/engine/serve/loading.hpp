// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "kvviz/engine/serve/state.hpp"
#include "kvviz/hub/token.hpp"

namespace kvviz {

struct ModelWish {
  std::string id, device, dtype;
  bool download = true;  ///< if it is not on this machine
  hub::Token token;      ///< for the download; empty: the one that is found
};

using LoadProgress = std::function<void(const std::string& what, int64_t done, int64_t total)>;

/// Throws, before anything is read, what is wrong with a wish: HttpError 400 (no such id), 404 (not on this
/// machine, and no download is wanted), DataError (no such device, connections forbidden).
void check(const ServeOptions& options, const ModelWish& wish);

/// Downloads the model where it has to, and reads it. Throws DataError as hub::pull(), load_config(),
/// open_tokenizer() and load_runner() do; hub::Stopped when `stop` was requested, which a download heeds at
/// once, the reading of weights after a tensor.
std::shared_ptr<const ServedModel> read_served_model(const ServeOptions& options, const ModelWish& wish,
                                                     const LoadProgress& progress, std::stop_token stop);

/// A load that is under way: it ends, failed, with this object unless put() came before.
class [[nodiscard]] Loading {
 public:
  /// Throws HttpError 409 where another is under way.
  Loading(ModelSlot& slot, const std::string& id) : slot_(slot) { slot_.begin(id); }
  ~Loading() {
    if (under_way_) slot_.finish(nullptr, "it was cancelled");
  }
  Loading(const Loading&) = delete;
  Loading& operator=(const Loading&) = delete;

  void progress(const std::string& what, int64_t done, int64_t total) { slot_.progress(what, done, total); }
  void put(std::shared_ptr<const ServedModel> model) { end(std::move(model), ""); }
  void fail(const std::string& error) { end(nullptr, error); }

 private:
  void end(std::shared_ptr<const ServedModel> model, const std::string& error) {
    under_way_ = false;
    slot_.finish(std::move(model), error);
  }
  ModelSlot& slot_;
  bool under_way_ = true;
};

}  // namespace kvviz
