// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "kvviz/core/interrupt.hpp"

namespace kvviz {

enum class ProgressUnit { steps, bytes };

/// Progress of long work on stderr, with the rate and the time left: a bar that redraws itself on a terminal,
/// a line every few seconds elsewhere, nothing when quiet. Nothing is printed for work that ends within half
/// a second.
class Progress {
 public:
  Progress(std::string what, int64_t total, bool quiet);
  /// With update(done, total); of bytes, the sizes and the rate are shown too.
  Progress(std::string what, ProgressUnit unit, bool quiet);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` of the total is finished.
  void update(int64_t done);
  /// The same where the total is known only now. The rate counts from the first call on.
  void update(int64_t done, int64_t total);

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  int64_t total_;
  ProgressUnit unit_ = ProgressUnit::steps;
  int64_t first_ = -1;
  bool quiet_;
  bool terminal_;
  bool drawn_ = false;
  std::optional<AtInterrupt> end_of_line_;
  Clock::time_point start_;
  Clock::time_point last_;
};

}  // namespace kvviz
