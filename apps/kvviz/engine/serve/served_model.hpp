// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "kvviz/engine/subject.hpp"

namespace kvviz {

/// A loaded model. Whoever holds it keeps it in memory, also after another has taken its place.
struct ServedModel {
  std::string id;                ///< as /api/models names it
  std::filesystem::path folder;  ///< or its GGUF file
  Runner runner;
};

/// The one model that requests use. All functions may be called from any thread; none waits for another's
/// work.
class ModelSlot {
 public:
  /// Null: none is loaded.
  std::shared_ptr<const ServedModel> get() const;
  /// Throws HttpError 409 when none is loaded, saying so.
  std::shared_ptr<const ServedModel> loaded() const;

  /// One load at a time: begin() throws HttpError 409 when another is under way; then progress() as often as
  /// there is news, and finish(), with null and the reason when it failed or was cancelled: the earlier model
  /// stays.
  void begin(const std::string& id);
  void progress(const std::string& what, int64_t done, int64_t total);
  void finish(std::shared_ptr<const ServedModel> model, const std::string& error = "");
  void unload();

  /// GET /api/model.
  nlohmann::ordered_json state() const;

 private:
  struct Progress {
    std::string what;
    int64_t done = 0, total = 0;
  };
  mutable std::mutex mutex_;
  std::shared_ptr<const ServedModel> model_;
  std::string loading_;  ///< empty: nothing is being loaded
  std::string error_;    ///< of the last load, where it failed and nothing was unloaded since
  Progress progress_;
};

/// The members of `model` in GET /api/model.
nlohmann::ordered_json card_of(const ServedModel& model);

}  // namespace kvviz
