// SPDX-License-Identifier: MIT
#include "kvviz/engine/serve/runs.hpp"

#include <chrono>

#include "kvviz/serve/http_error.hpp"

namespace kvviz {
namespace {

constexpr size_t most_waiting = 8;

}  // namespace

/// A place in the queue, given back unless it becomes a turn.
class Runs::Place {
 public:
  explicit Place(Runs& runs) : runs_(runs) {
    const std::lock_guard lock(runs_.mutex_);
    if (runs_.queue_.size() > most_waiting)
      throw serve::too_many("one run is under way and ", runs_.queue_.size() - 1,
                            " wait; try again when one has ended");
    at_ = runs_.queue_.insert(runs_.queue_.end(), 0);
  }
  ~Place() {
    if (!is_turn_) runs_.leave(at_);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  /// Whether its turn came within a moment.
  bool wait() {
    constexpr std::chrono::milliseconds moment{250};
    std::unique_lock lock(runs_.mutex_);
    return runs_.changed_.wait_for(lock, moment, [&] { return at_ == runs_.queue_.begin(); });
  }
  Turn turn() {
    is_turn_ = true;
    return Turn(runs_);
  }

 private:
  Runs& runs_;
  std::list<int>::iterator at_;
  bool is_turn_ = false;
};

Runs::Turn Runs::wait(serve::Client& client) {
  Place place(*this);
  while (!place.wait()) {
    client.keep();
    client.progress("waiting for another run", 0, 0);
  }
  return place.turn();
}

void Runs::leave(std::list<int>::iterator place) {
  {
    const std::lock_guard lock(mutex_);
    queue_.erase(place);
  }
  changed_.notify_all();
}

void Runs::next() {
  {
    const std::lock_guard lock(mutex_);
    queue_.pop_front();
  }
  changed_.notify_all();
}

int Runs::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.empty() ? 0 : static_cast<int>(queue_.size()) - 1;
}

bool Runs::running() const {
  const std::lock_guard lock(mutex_);
  return !queue_.empty();
}

}  // namespace kvviz
