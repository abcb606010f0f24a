// SPDX-License-Identifier: MIT
#pragma once
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>

#include "kvviz/serve/reply.hpp"

namespace kvviz {

/// Work that takes all processors: one run at a time, the others wait in the order they came. Steps of live
/// streams are no such work.
class Runs {
 public:
  class [[nodiscard]] Turn {
   public:
    explicit Turn(Runs& runs) : runs_(runs) {}
    ~Turn() { runs_.next(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Runs& runs_;
  };

  /// A place in the queue, given back unless it becomes a turn.
  class Place {
   public:
    explicit Place(Runs& runs);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    /// Waits for its turn, telling the client that it waits. Once. Throws Gone.
    Turn wait(serve::Client& client);

   private:
    Runs& runs_;
    std::list<int>::iterator at_;
    bool is_turn_ = false;
  };

  /// Before the answer begins, so that its status can be the refusal. Throws HttpError 429 when as many wait
  /// as may.
  std::shared_ptr<Place> queue();

  int waiting() const;
  bool running() const;

 private:
  void leave(std::list<int>::iterator place);
  void next();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<int> queue_;  ///< the first one runs
};

}  // namespace kvviz
