// SPDX-License-Identifier: MIT
#include "kvviz/core/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "kvviz/core/byte_size.hpp"

namespace kvviz {

namespace {

/// ", 37 of 100, 3.1/s"; from less than one a second on, how long one takes.
std::string counted(int64_t done, int64_t total, double rate) {
  char text[96];
  std::snprintf(text, sizeof text, rate >= 1 ? ", %lld of %lld, %.3g/s" : ", %lld of %lld, %.3g s each",
                static_cast<long long>(done), static_cast<long long>(total),
                rate >= 1 || rate == 0 ? rate : 1 / rate);
  return text;
}

}  // namespace

Progress::Progress(std::string what, int64_t total, bool quiet)
    : what_(std::move(what)),
      total_(std::max<int64_t>(total, 1)),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

Progress::Progress(std::string what, ProgressUnit unit, bool quiet) : Progress(std::move(what), 0, quiet) {
  unit_ = unit;
}

Progress::~Progress() {
  if (drawn_ && terminal_) std::fputs("\r\033[K", stderr);
}

void Progress::update(int64_t done, int64_t total) {
  total_ = std::max<int64_t>(total, 1);
  update(done);
}

void Progress::update(int64_t done) {
  if (quiet_) return;
  using namespace std::chrono_literals;
  const auto now = Clock::now();
  if (first_ < 0) {
    // What was there before is no part of the rate.
    first_ = unit_ == ProgressUnit::bytes ? done : 0;
    start_ = unit_ == ProgressUnit::bytes ? now : start_;
  }
  const auto pause = terminal_ ? (drawn_ ? 100ms : 500ms) : 10000ms;
  if (now - last_ < pause) return;
  last_ = now;
  drawn_ = true;
  if (terminal_ && !end_of_line_)  // what the shell or the last words print gets a line of its own
    end_of_line_.emplace([ended = false]() mutable {
      if (!std::exchange(ended, true)) (void)!write(STDERR_FILENO, "\n", 1);
    });
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double share =
      static_cast<double>(std::clamp<int64_t>(done, 0, total_)) / static_cast<double>(total_);
  const double rate = seconds > 0 ? static_cast<double>(done - first_) / seconds : 0;
  const double left = rate > 0 ? static_cast<double>(std::max<int64_t>(total_ - done, 0)) / rate : 0;
  const bool bytes = unit_ == ProgressUnit::bytes;
  const std::string sizes = bytes ? ", " + size_text(static_cast<double>(done)) + " of " +
                                        size_text(static_cast<double>(total_)) + ", " + size_text(rate) + "/s"
                                  : counted(done, total_, rate);
  if (!terminal_) {
    std::fprintf(stderr, "%s: %.0f %%%s, %.0f s left after %.0f s\n", what_.c_str(), share * 100,
                 sizes.c_str(), left, seconds);
    return;
  }
  const int width = 12;
  const int filled = static_cast<int>(share * width);
  std::string line = what_ + " [" + std::string(static_cast<size_t>(filled), '=') +
                     std::string(static_cast<size_t>(width - filled), ' ') + ']';
  char numbers[160];
  std::snprintf(numbers, sizeof numbers, " %3.0f %%%s, %.0f s left", share * 100, sizes.c_str(), left);
  line += numbers;
  // A line that wraps could not be drawn over.
  winsize terminal{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &terminal) == 0 && terminal.ws_col > 1)
    line.resize(std::min<size_t>(line.size(), terminal.ws_col - 1));
  std::fprintf(stderr, "\r%s\033[K", line.c_str());
}

}  // namespace kvviz
