// SPDX-License-Identifier: MIT
#include "kvviz/core/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace kvviz {

Progress::Progress(std::string what, int64_t total, bool quiet)
    : what_(std::move(what)),
      total_(std::max<int64_t>(total, 1)),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (drawn_ && terminal_) std::fputs("\r\033[K", stderr);
}

void Progress::update(int64_t done) {
  if (quiet_) return;
  using namespace std::chrono_literals;
  const auto now = Clock::now();
  const auto pause = terminal_ ? (drawn_ ? 100ms : 500ms) : 10000ms;
  if (now - last_ < pause) return;
  last_ = now;
  drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double share =
      static_cast<double>(std::clamp<int64_t>(done, 0, total_)) / static_cast<double>(total_);
  const double left = share > 0 ? seconds * (1 - share) / share : 0;
  if (!terminal_) {
    std::fprintf(stderr, "%s: %.0f %% after %.0f s\n", what_.c_str(), share * 100, seconds);
    return;
  }
  constexpr int width = 30;
  const int filled = static_cast<int>(share * width);
  std::fprintf(stderr, "\r%s [%.*s%*s] %3.0f %%, %.0f s left\033[K", what_.c_str(), filled,
               "==============================", width - filled, "", share * 100, left);
}

}  // namespace kvviz
