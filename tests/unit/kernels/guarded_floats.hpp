// SPDX-License-Identifier: MIT
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <new>
#include <span>

namespace kvviz::test {

/// A copy of some floats that ends where a page begins that may not be touched: reading behind it crashes.
class GuardedFloats {
 public:
  explicit GuardedFloats(std::span<const float> values) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t whole = (values.size_bytes() + page - 1) / page * page;
    size_ = whole + page;
    memory_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    char* const guard = static_cast<char*>(memory_) + whole;
    if (mprotect(guard, page, PROT_NONE) != 0) throw std::bad_alloc();
    data_ = reinterpret_cast<float*>(guard - values.size_bytes());
    std::copy(values.begin(), values.end(), data_);
  }
  ~GuardedFloats() { munmap(memory_, size_); }
  GuardedFloats(const GuardedFloats&) = delete;
  GuardedFloats& operator=(const GuardedFloats&) = delete;
  float* data() { return data_; }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
  float* data_ = nullptr;
};

}  // namespace kvviz::test
