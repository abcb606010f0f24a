// SPDX-License-Identifier: MIT
#include "kvviz/kernels/thread_pool.hpp"

#include <hwy/cache_control.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "kvviz/core/error.hpp"

namespace kvviz::kernels {
namespace {

struct Job {
  const std::function<void(int64_t)>* body;
  int64_t count;
  int helpers;
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error{};
};

thread_local bool inside_parallel_for = false;

void work(Job& job) {
  inside_parallel_for = true;
  for (int64_t i = job.next++; i < job.count; i = job.next++) {
    try {
      (*job.body)(i);
    } catch (...) {
      if (!job.failed.exchange(true)) job.error = std::current_exception();
      job.next = job.count;
    }
  }
  inside_parallel_for = false;
}

int allowed_cpus() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) return std::max(CPU_COUNT(&cpus), 1);
  return static_cast<int>(std::max(std::thread::hardware_concurrency(), 1U));
}

/// Waits a moment without sleeping: to wake a thread costs tens of microseconds, as much as one layer's
/// weights take to be read. Longer waits sleep.
template <class Ready>
void wait_awake(const Ready& ready) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::microseconds(50);
  while (!ready() && Clock::now() < end) hwy::Pause();
}

class Pool {
 public:
  int threads() const { return threads_; }

  void set_threads(int threads) {
    const std::lock_guard turn(turn_);
    threads_ = threads;
  }

  void run(Job& job) {
    const std::lock_guard turn(turn_);
    job.helpers = static_cast<int>(std::min<int64_t>(threads_, job.count)) - 1;
    if (job.helpers > 0) {
      start_workers(job.helpers);
      {
        const std::lock_guard lock(mutex_);
        job_ = &job;
        ++generation_;
      }
      wake_.notify_all();
    }
    work(job);
    if (job.helpers > 0) {
      // A worker that has not woken up by now finds no job: nobody waits for it.
      std::unique_lock lock(mutex_);
      job_ = nullptr;
      if (busy_ > 0 && stays_awake()) {
        lock.unlock();
        wait_awake([this] { return busy_ == 0; });
        lock.lock();
      }
      done_.wait(lock, [this] { return busy_ == 0; });
    }
  }

 private:
  /// More threads than CPUs would wait in each other's way.
  bool stays_awake() const { return threads_ <= cpus_; }

  void start_workers(int helpers) {
    try {
      while (static_cast<int>(workers_.size()) < helpers) {
        const int index = static_cast<int>(workers_.size());
        workers_.emplace_back([this, index] { serve(index); });
      }
    } catch (const std::system_error&) {
      // A limit on threads makes the work slower, not wrong: those that started share it.
    }
  }

  void serve(int index) {
    uint64_t seen = 0;
    while (true) {
      if (stays_awake()) wait_awake([&] { return generation_ != seen; });
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return job_ != nullptr && generation_ != seen && index < job_->helpers; });
      seen = generation_;
      Job& job = *job_;
      ++busy_;
      lock.unlock();
      work(job);
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::mutex turn_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  Job* job_ = nullptr;
  std::atomic<uint64_t> generation_ = 0;  // this and busy_ change under the mutex
  std::atomic<int> busy_ = 0;
  const int cpus_ = allowed_cpus();
  std::atomic<int> threads_ = cpus_;
};

// Never destroyed: the workers sleep until the process ends, whichever way it ends.
Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

}  // namespace

int thread_count() {
  return pool().threads();
}

void set_thread_count(int threads) {
  require<UsageError>(threads >= 1, "[threads] got ", threads, ", expected at least 1");
  pool().set_threads(threads);
}

void parallel_for(int64_t count, const std::function<void(int64_t)>& body) {
  if (count <= 0) return;
  if (inside_parallel_for) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  Job job{.body = &body, .count = count, .helpers = 0};
  pool().run(job);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace kvviz::kernels
