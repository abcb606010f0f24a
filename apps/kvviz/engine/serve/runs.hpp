// SPDX-License-Identifier: MIT
#pragma once
#include <condition_variable>
#include <list>
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

  /// Waits for its turn, telling the client that it waits. Throws HttpError 429 when as many wait as may;
  /// Gone.
  Turn wait(serve::Client& client);

  int waiting() const;
  bool running() const;

 private:
  class Place;
  void leave(std::list<int>::iterator place);
  void next();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<int> queue_;  ///< the first one runs
};

}  // namespace kvviz
