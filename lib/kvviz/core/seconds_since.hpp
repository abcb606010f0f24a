// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>

namespace kvviz {

/// Wall-clock seconds that have passed, of a clock that nothing sets.
inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace kvviz
