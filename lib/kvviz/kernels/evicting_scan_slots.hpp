// SPDX-License-Identifier: MIT
#pragma once
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

#include "kvviz/kernels/attention.hpp"
#include "kvviz/kernels/evicting_scan_simd.hpp"

namespace kvviz::kernels {

/// A 64-byte aligned array that keeps its contents when it grows; new elements hold `fill`.
template <class T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(T fill) : fill_(fill) {}
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  /// At least `size` elements; grows by half or more. Throws std::bad_alloc.
  void reserve(int64_t size) {
    if (size <= size_) return;
    const int64_t grown = (std::max(size, size_ + size_ / 2) + 63) / 64 * 64;
    auto larger = hwy::AllocateAligned<T>(static_cast<size_t>(grown));
    if (!larger) throw std::bad_alloc();
    std::copy_n(data_.get(), size_, larger.get());
    std::fill(larger.get() + size_, larger.get() + grown, fill_);
    data_ = std::move(larger);
    size_ = grown;
  }

 private:
  T fill_ = {};
  hwy::AlignedFreeUniquePtr<T[]> data_;
  int64_t size_ = 0;
};

/// Keys of one head in the order of their columns: packed in panels for matrix products, or row by row where
/// they are rotated on use.
class KeyColumns {
 public:
  /// `panel`: keys per panel, 1 for rows.
  KeyColumns(int64_t head_dim, int64_t panel) : dim_(head_dim), panel_(panel) {}
  void reserve(int64_t columns);
  /// Key j of `count` goes to column first + j; `stride` floats from key to key.
  void write(int64_t first, const float* key, int64_t stride, int64_t count);
  void move(int64_t from, int64_t to);
  const float* data() const { return data_.data(); }

 private:
  float* at(int64_t column) { return data_.data() + column / panel_ * panel_ * dim_ + column % panel_; }
  int64_t dim_, panel_;
  AlignedArray<float> data_;
};

/// The query heads that share one set of slots, and the KV head whose keys fill it.
struct SlotOwner {
  int64_t kv_head = 0, first_query_head = 0, query_heads = 1;
};

struct Eviction {
  int32_t step = 0, position = 0;
};

/// The keys that are held for the query heads of one SlotOwner, in columns without an order: a new key takes
/// the next column, and holes are filled from the end between blocks of steps. Rules see it after a step's
/// attention (EvictionRule).
class SlotSet {
 public:
  SlotSet(const SlotOwner& owner, bool ordered);

  const SlotOwner& owner() const { return owner_; }
  int64_t kept() const { return kept_; }        ///< keys held
  int64_t columns() const { return columns_; }  ///< columns in use, empty ones among them
  bool holds(int64_t position) const { return column_of(position) >= 0; }
  int64_t column_of(int64_t position) const {  ///< -1: not held
    return column_of_.data()[position];
  }
  /// column_of() of all positions so far; aligned, readable to a multiple of 16.
  const int32_t* columns_by_position() const { return column_of_.data(); }
  int64_t position(int64_t column) const {  ///< -1: empty
    const double p = positions_.data()[column];
    return p < 1e18 ? static_cast<int64_t>(p) : -1;
  }
  /// A number of the rule's own for each key, [columns]: 0 for a new key, moved with the key.
  std::span<double> scores() { return {scores_.data(), static_cast<size_t>(columns_)}; }
  /// The step's softmax weights over the held keys, aggregated over the query heads, [columns]; 0 where
  /// empty.
  std::span<const float> weights() const { return {weights_.data(), static_cast<size_t>(columns_)}; }
  /// The same over all keys ever seen, by position; with a sliding window 0 outside it.
  std::span<const float> full_weights() const { return full_weights_; }
  /// Held positions, ascending; only for rules that ask for it.
  std::span<const int32_t> ordered() const { return ordered_; }

  /// scores()[c] += weights()[c].
  void add_weights();
  /// Column of the lowest score among the positions [begin, end); equal scores: the lowest position; NaN is
  /// the highest score. -1: there is none.
  int64_t lowest(int64_t begin, int64_t end) const;
  /// Frees the slot and logs the eviction.
  void drop(int64_t column);

  std::span<const Eviction> log() const { return log_; }
  int64_t peak() const { return peak_; }  ///< most keys that one step attended to
  std::vector<int32_t> kept_positions() const;

 private:
  friend class GroupScan;
  void reserve(int64_t columns);
  void enter(int64_t position);
  void remove(int64_t column);
  struct Move {
    int64_t from, to;
  };
  /// Fills the holes; says which columns moved, in the order to move them.
  const std::vector<Move>& compact();
  float* weight_row() { return weights_.data(); }

  SlotOwner owner_;
  bool keeps_order_;
  int64_t kept_ = 0, columns_ = 0, step_ = 0, peak_ = 0;
  AlignedArray<double> positions_, scores_;
  AlignedArray<float> weights_;
  std::span<const float> full_weights_;
  AlignedArray<int32_t> column_of_{-1};  ///< by position
  std::vector<int32_t> ordered_;
  std::vector<int64_t> holes_;  ///< columns emptied since the last compact()
  std::vector<Move> moves_;
  std::vector<Eviction> log_;
};

}  // namespace kvviz::kernels
