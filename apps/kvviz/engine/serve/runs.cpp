// SPDX-License-Identifier: MIT
#include "kvviz/engine/serve/runs.hpp"

#include <chrono>

#include "kvviz/serve/http_error.hpp"

namespace kvviz {
namespace {

constexpr size_t most_waiting = 8;

}  // namespace

Runs::Place::Place(Runs& runs) : runs_(runs) {
  const std::lock_guard lock(runs_.mutex_);
  if (runs_.queue_.size() > most_waiting)
    throw serve::too_many("one run is under way and ", runs_.queue_.size() - 1,
                          " wait; try again when one has ended");
  at_ = runs_.queue_.insert(runs_.queue_.end(), 0);
}

Runs::Place::~Place() {
  if (!is_turn_) runs_.leave(at_);
}

Runs::Turn Runs::Place::wait(serve::Client& client) {
  constexpr std::chrono::milliseconds moment{250};
  const auto has_come = [&] {
    std::unique_lock lock(runs_.mutex_);
    return runs_.changed_.wait_for(lock, moment, [&] { return at_ == runs_.queue_.begin(); });
  };
  while (!has_come()) {
    client.keep();
    client.progress("waiting for another run", 0, 0);
  }
  is_turn_ = true;
  return Turn(runs_);
}

std::shared_ptr<Runs::Place> Runs::queue() {
  return std::make_shared<Place>(*this);
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
