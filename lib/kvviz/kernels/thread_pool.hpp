// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>

namespace kvviz::kernels {

/// Threads used by parallel_for, the caller included. Default: all CPUs the process may run on.
int thread_count();

/// Sets the number of threads (>= 1, else UsageError) for the calls that follow. Not while a parallel_for
/// runs.
void set_thread_count(int threads);

/// Runs body(i) once for every i in [0, count), spread over the pool by an atomic counter; returns when all
/// are done. Results must not depend on the order. The first exception of a body is thrown again here and the
/// indices not yet handed out are dropped. A nested call runs in the calling thread alone. Calls from several
/// threads take turns. The threads start with the first call that has work for them. Cost: about a
/// microsecond when the last call was less than 50 microseconds ago, for so long the threads stay awake; else
/// that of waking them, tens of microseconds.
void parallel_for(int64_t count, const std::function<void(int64_t)>& body);

}  // namespace kvviz::kernels
