// SPDX-License-Identifier: MIT
#pragma once

namespace kvviz::stats {

/// While one lives, OpenBLAS computes every product in the calling thread (the pool gives the parallelism).
/// The setting belongs to the process: make it outside of parallel_for. One made inside changes nothing while
/// that of the caller lives, so that a function may make its own whoever calls it.
class SerialBlas {
 public:
  SerialBlas();
  ~SerialBlas();
  SerialBlas(const SerialBlas&) = delete;
  SerialBlas& operator=(const SerialBlas&) = delete;

 private:
  int threads_;
};

}  // namespace kvviz::stats
