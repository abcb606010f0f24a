// SPDX-License-Identifier: MIT
#pragma once
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

namespace kvviz::kernels {

/// A 64-byte aligned buffer that only grows, to be kept and used again. Growing loses the contents.
class AlignedFloats {
 public:
  /// At least `size` floats; zeros when newly allocated. Throws std::bad_alloc.
  float* at_least(int64_t size) {
    if (size > size_) {
      buffer_.reset();
      size_ = 0;
      buffer_ = hwy::AllocateAligned<float>(static_cast<size_t>(size));
      if (!buffer_) throw std::bad_alloc();
      size_ = size;
      std::fill_n(buffer_.get(), size, 0.0F);
    }
    return buffer_.get();
  }

 private:
  hwy::AlignedFreeUniquePtr<float[]> buffer_;
  int64_t size_ = 0;
};

}  // namespace kvviz::kernels
