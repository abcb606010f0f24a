// SPDX-License-Identifier: MIT
#include "kvviz/kernels/evicting_scan_group.hpp"

#include <algorithm>
#include <limits>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz::kernels {
namespace {

constexpr int64_t most_steps =
    48;  // more: fewer key reads per step, more products with columns not yet filled
constexpr int64_t most_rows = 96;

template <class Body>
void for_each_set(size_t count, const Body& body) {
  if (count == 1) return body(size_t{0});
  parallel_for(static_cast<int64_t>(count), [&](int64_t i) { body(static_cast<size_t>(i)); });
}

/// The channels of a head so that each rotary pair is (p, p + pairs).
void halves(const RotaryTable& table, const float* from, int64_t dim, float* to) {
  std::copy_n(from, dim, to);
  for (int64_t p = 0; table.interleaved && p < table.pairs; ++p) {
    to[p] = from[2 * p];
    to[table.pairs + p] = from[2 * p + 1];
  }
}

}  // namespace

GroupScan::GroupScan(const ScanShape& shape, const ScanOptions& options, DecisionGroup group,
                     std::span<HeadComparison> comparisons)
    : shape_(shape),
      options_(options),
      needs_(group.rule->needs()),
      rule_(std::move(group.rule)),
      comparisons_(comparisons) {
  const bool rotated = options.cache_positions != nullptr;
  const int64_t panel = attention_simd().panel;
  for (const SlotOwner& owner : group.owners) {
    sets_.emplace_back(owner, needs_.order || rotated);
    Store& store = stores_.emplace_back(Store{KeyColumns(shape.head_dim, rotated ? 1 : panel), {}, {}});
    if (options.compare || needs_.full_weights) store.full.emplace(shape, owner, options.compare);
  }
  base_.resize(sets_.size());
  // One set: its thread's buffers, which stay in the caches, serve all groups.
  if (sets_.size() > 1) own_buffers_.resize(sets_.size());
}

ScanBuffers& GroupScan::buffers(size_t set) {
  static thread_local ScanBuffers of_thread;
  return own_buffers_.empty() ? of_thread : own_buffers_[set];
}

int64_t GroupScan::block_steps() const {
  if (options_.block > 0) return options_.block;
  return std::clamp<int64_t>(most_rows / sets_.front().owner().query_heads, 6, most_steps);
}

void GroupScan::advance(const ScanInput& input, int64_t first_position) {
  const bool full = options_.compare || needs_.full_weights;
  for (int64_t row = 0; row < input.tokens; row += block_steps()) {
    const ScanBlock block{input, row, std::min(block_steps(), input.tokens - row), first_position + row};
    for_each_set(sets_.size(), [&](size_t set) {
      append(block, set);
      fill_logits(block, set);
      if (full) stores_[set].full->fill(block, buffers(set).full);
    });
    for (int64_t step = 0; step < block.steps; ++step) {
      for (size_t set = 0; set < sets_.size(); ++set) {
        weigh(block, set, step);
        if (full) compare(block, set, step);
      }
      const int64_t position = block.first_position + step;
      rule_->after_step({.position = position,
                         .row = block.first_row + step,
                         .may_evict = position >= options_.prompt - 1,
                         .shape = shape_,
                         .input = input},
                        sets_);
    }
    for_each_set(sets_.size(), [&](size_t set) {
      write_output(block, set);
      compact(set);
    });
  }
}

void GroupScan::append(const ScanBlock& block, size_t set) {
  SlotSet& slots = sets_[set];
  Store& store = stores_[set];
  const int64_t dim = shape_.head_dim, base = slots.columns(), kv = slots.owner().kv_head;
  base_[set] = base;
  slots.reserve(base + block.steps);
  store.keys.reserve(base + block.steps);
  store.values.reserve((base + block.steps) * dim);
  for (int64_t i = 0; i < block.steps; ++i) {
    std::copy_n(block.input.v.at(kv, block.first_row + i), dim, store.values.data() + (base + i) * dim);
  }
  if (options_.cache_positions == nullptr) {
    const HeadsView& k = block.input.k;
    store.keys.write(base, k.at(kv, block.first_row), k.token_stride, block.steps);
    return;
  }
  float* const key = buffers(set).queries.at_least(dim);
  for (int64_t i = 0; i < block.steps; ++i) {
    halves(*options_.cache_positions, block.input.key_pre_rope.at(kv, block.first_row + i), dim, key);
    store.keys.write(base + i, key, dim, 1);
  }
}

Strip GroupScan::strip(const ScanBlock& block, size_t set) {
  ScanBuffers& b = buffers(set);
  const int64_t heads = sets_[set].owner().query_heads, rows = block.steps * heads;
  const int64_t stride = strip_stride(base_[set] + block.steps);
  b.visible.resize(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row)
    b.visible[static_cast<size_t>(row)] = {0, base_[set] + row / heads + 1};
  return {b.strip.at_least(round_up(rows, attention_simd().row_group) * stride), stride, rows,
          b.visible.data()};
}

void GroupScan::fill_logits(const ScanBlock& block, size_t set) {
  const AttentionSimd& simd = attention_simd();
  const Strip logits = strip(block, set);
  if (options_.cache_positions != nullptr) return;  // ranks are not known before the step
  const float* const queries =
      pack_queries(block, shape_, sets_[set].owner(), block.input.q, buffers(set).queries);
  simd.scores(logits, queries, stores_[set].keys.data(), shape_.head_dim);
  if (!shape_.alibi_slopes.empty()) add_distances(block, set, logits);
  if (shape_.softcap > 0) simd.softcap(logits, shape_.softcap);
}

void GroupScan::add_distances(const ScanBlock& block, size_t set, const Strip& logits) {
  const SlotSet& slots = sets_[set];
  const SlotOwner& owner = slots.owner();
  DistanceRows& distances = buffers(set).distances;
  const int64_t base = base_[set];
  distances.start(base + block.steps);
  for (int64_t column = 0; column < base; ++column)
    distances.keys()[column] = static_cast<int32_t>(slots.position(column));
  for (int64_t step = 0; step < block.steps; ++step)
    distances.keys()[base + step] = static_cast<int32_t>(block.first_position + step);
  for (int64_t row = 0; row < logits.rows; ++row)
    distances.add_row(
        shape_.alibi_slopes[static_cast<size_t>(owner.first_query_head + row % owner.query_heads)],
        block.first_position + row / owner.query_heads);
  attention_simd().add_distances(logits, distances.bias());
}

void GroupScan::rotate_logits(const ScanBlock& block, size_t set, int64_t step) {
  const RotaryTable& table = *options_.cache_positions;
  const SlotSet& slots = sets_[set];
  const SlotOwner& owner = slots.owner();
  ScanBuffers& b = buffers(set);
  const int64_t dim = shape_.head_dim, last = slots.kept() - 1;
  require<UsageError>(last < table.positions, "[evicting scan] ", slots.kept(),
                      " keys are held, the table of rotary positions has ", table.positions, " rows");
  b.rank.assign(static_cast<size_t>(slots.columns()), 0);
  for (int64_t i = 0; i <= last; ++i) {
    const int64_t position = slots.ordered()[static_cast<size_t>(i)];
    b.rank[static_cast<size_t>(slots.column_of(position))] = static_cast<int32_t>(i);
  }
  float* const query = b.queries.at_least(dim);
  const int64_t first = step * owner.query_heads, stride = strip_stride(base_[set] + block.steps);
  const Strip logits{b.strip.at_least(0) + first * stride, stride, owner.query_heads,
                     b.visible.data() + first};
  const float* const cosine = table.cosine + last * table.pairs;
  const float* const sine = table.sine + last * table.pairs;
  for (int64_t head = 0; head < owner.query_heads; ++head) {
    halves(table, block.input.query_pre_rope.at(owner.first_query_head + head, block.first_row + step), dim,
           query);
    for (int64_t p = 0; p < table.pairs; ++p) {
      const float x = query[p], y = query[table.pairs + p];
      query[p] = x * cosine[p] - y * sine[p];
      query[table.pairs + p] = y * cosine[p] + x * sine[p];
    }
    for (int64_t c = 0; c < dim; ++c) query[c] *= shape_.scale;
    evicting_scan_simd().rotated_logits({.query = query,
                                         .keys = stores_[set].keys.data(),
                                         .rank = b.rank.data(),
                                         .stride = dim,
                                         .columns = slots.columns(),
                                         .head_dim = dim,
                                         .pairs = table.pairs,
                                         .cosine = table.cosine,
                                         .sine = table.sine},
                                        logits.data + head * logits.stride);
  }
  if (!shape_.alibi_slopes.empty()) add_ranks(set, logits);
  if (shape_.softcap > 0) attention_simd().softcap(logits, shape_.softcap);
}

void GroupScan::add_ranks(size_t set, const Strip& logits) {
  const SlotOwner& owner = sets_[set].owner();
  ScanBuffers& b = buffers(set);
  b.distances.start(std::ssize(b.rank));
  std::ranges::copy(b.rank, b.distances.keys());
  for (int64_t head = 0; head < owner.query_heads; ++head)
    b.distances.add_row(shape_.alibi_slopes[static_cast<size_t>(owner.first_query_head + head)],
                        sets_[set].kept() - 1);
  attention_simd().add_distances(logits, b.distances.bias());
}

void GroupScan::weigh(const ScanBlock& block, size_t set, int64_t step) {
  SlotSet& slots = sets_[set];
  ScanBuffers& b = buffers(set);
  const int64_t heads = slots.owner().query_heads, position = block.first_position + step;
  if (const int64_t passed = position - shape_.window;
      shape_.window > 0 && passed >= 0 && slots.holds(passed))
    slots.remove(slots.column_of(passed));
  slots.enter(position);
  if (options_.cache_positions != nullptr) rotate_logits(block, set, step);

  const int64_t width = base_[set] + block.steps, stride = strip_stride(width);
  float* const rows = b.strip.at_least(0) + step * heads * stride;
  b.inverse.resize(static_cast<size_t>(block.steps * heads));
  float* const inverse = b.inverse.data() + step * heads;
  const Span visible{0, slots.columns()};
  for (int64_t head = 0; head < heads; ++head) {
    float* const row = rows + head * stride;
    for (const int64_t hole : slots.holes_) row[hole] = -std::numeric_limits<float>::infinity();
    RowSums sums;
    attention_simd().softmax({row, stride, 1, &visible}, &sums, false);
    for (const int64_t hole : slots.holes_) row[hole] = 0;
    std::fill(row + slots.columns(), row + round_up(width, 16), 0.0F);
    inverse[head] = static_cast<float>(1 / sums.weight);
  }
  if (needs_.weights) {
    evicting_scan_simd().aggregate({rows, stride, inverse, heads}, slots.columns(), options_.aggregate,
                                   slots.weight_row());
  }
}

void GroupScan::compare(const ScanBlock& block, size_t set, int64_t step) {
  SlotSet& slots = sets_[set];
  const FullAttention& full = *stores_[set].full;
  FullBuffers& b = buffers(set).full;
  if (needs_.full_weights) slots.full_weights_ = full.weights(block, step, options_.aggregate, b);
  const SlotOwner& owner = slots.owner();
  for (int64_t head = 0; options_.compare && head < owner.query_heads; ++head) {
    full.compare(block, step * owner.query_heads + head, slots, b,
                 comparisons_[static_cast<size_t>(owner.first_query_head + head)]);
  }
}

void GroupScan::write_output(const ScanBlock& block, size_t set) {
  ScanBuffers& b = buffers(set);
  const SlotOwner& owner = sets_[set].owner();
  const AttentionSimd& simd = attention_simd();
  const int64_t dim = shape_.head_dim, out_stride = round_up(dim, 16);
  const int64_t rows = block.steps * owner.query_heads, width = base_[set] + block.steps;
  const Strip weights = strip(block, set);
  const int64_t floats = round_up(rows, simd.row_group) * out_stride;
  float* const out = b.out.at_least(floats);
  std::fill_n(out, floats, 0.0F);
  for (int64_t column = 0; column < width; column += scan_key_block) {
    simd.weighted_values(weights, {column, std::min(column + scan_key_block, width)},
                         stores_[set].values.data(), dim, dim, out);
  }
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t head = owner.first_query_head + row % owner.query_heads;
    float* const to = block.input.out.at(head, block.first_row + row / owner.query_heads);
    const float factor = b.inverse[static_cast<size_t>(row)];
    for (int64_t c = 0; c < dim; ++c) to[c] = out[row * out_stride + c] * factor;
    if (options_.compare) {
      comparisons_[static_cast<size_t>(head)].error.push_back(
          stores_[set].full->error(block, row, to, b.full));
    }
  }
}

void GroupScan::compact(size_t set) {
  const int64_t dim = shape_.head_dim;
  sets_[set].full_weights_ = {};
  for (const auto& [from, to] : sets_[set].compact()) {
    stores_[set].keys.move(from, to);
    float* const values = stores_[set].values.data();
    std::copy_n(values + from * dim, dim, values + to * dim);
  }
}

}  // namespace kvviz::kernels
