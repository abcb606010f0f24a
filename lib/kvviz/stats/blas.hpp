// SPDX-License-Identifier: MIT
#pragma once

namespace kvviz::stats {

/// While one lives, OpenBLAS computes every product in the calling thread (the pool gives the parallelism).
/// Make it outside of parallel_for: the setting belongs to the process.
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
