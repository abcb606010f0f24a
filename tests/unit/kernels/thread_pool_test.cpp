// SPDX-License-Identifier: MIT
#include "kvviz/kernels/thread_pool.hpp"

#include <doctest/doctest.h>
#include <sched.h>

#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kvviz/core/error.hpp"

namespace kvviz::kernels {
namespace {

struct ThreadCount {
  explicit ThreadCount(int threads) : before(thread_count()) { set_thread_count(threads); }
  ~ThreadCount() { set_thread_count(before); }
  int before;
};

TEST_CASE("[thread_pool] the default is the number of CPUs the process may use") {
  cpu_set_t cpus;
  REQUIRE(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
  CHECK(thread_count() == CPU_COUNT(&cpus));
}

TEST_CASE("[thread_pool] every index is run once") {
  for (const int threads : {1, 2, 3, 8}) {
    const ThreadCount guard(threads);
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
      parallel_for(count, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
      for (const auto& run : runs) CHECK(run == 1);
    }
  }
}

TEST_CASE("[thread_pool] the asked number of threads really share the work") {
  const ThreadCount guard(3);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  // Each body waits until three threads have arrived: with fewer, this would never end.
  std::atomic<int> arrived{0};
  parallel_for(3, [&](int64_t) {
    {
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    }
    ++arrived;
    while (arrived < 3) std::this_thread::yield();
  });
  CHECK(seen.size() == 3);
}

TEST_CASE("[thread_pool] an exception reaches the caller and the pool goes on working") {
  for (const int threads : {1, 2, 4}) {
    const ThreadCount guard(threads);
    CHECK_THROWS_WITH_AS(parallel_for(100, [](int64_t i) { require(i != 13, "body ", i); }), "body 13",
                         DataError);
    std::atomic<int64_t> sum{0};
    parallel_for(100, [&](int64_t i) { sum += i; });
    CHECK(sum == 4950);
  }
}

TEST_CASE("[thread_pool] after an exception no new index is handed out") {
  const ThreadCount guard(1);
  int64_t last = -1;
  CHECK_THROWS(parallel_for(100, [&](int64_t i) {
    last = i;
    require(i < 3, "stop");
  }));
  CHECK(last == 3);
}

TEST_CASE("[thread_pool] a nested call runs in the calling thread, and its exception passes through") {
  const ThreadCount guard(3);
  std::atomic<int> runs{0};
  std::atomic<bool> same_thread{true};
  parallel_for(6, [&](int64_t) {
    const auto outer = std::this_thread::get_id();
    parallel_for(5, [&](int64_t) {
      ++runs;
      if (std::this_thread::get_id() != outer) same_thread = false;
    });
  });
  CHECK(runs == 30);
  CHECK(same_thread);
  CHECK_THROWS_AS(
      parallel_for(2, [](int64_t) { parallel_for(2, [](int64_t) { throw DataError("inner"); }); }),
      DataError);
}

TEST_CASE("[thread_pool] callers on several threads take turns") {
  const ThreadCount guard(3);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 200; ++repeat) parallel_for(10, [&](int64_t i) { sum += i; });
    });
  }
  for (auto& caller : callers) caller.join();
  CHECK(sum == 4 * 200 * 45);
}

TEST_CASE("[thread_pool] fewer than one thread is refused") {
  CHECK_THROWS_AS(set_thread_count(0), UsageError);
  CHECK_THROWS_AS(set_thread_count(-2), UsageError);
}

}  // namespace
}  // namespace kvviz::kernels
