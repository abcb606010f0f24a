// SPDX-License-Identifier: MIT
#include "kvviz/kernels/evicting_scan_full.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kvviz::kernels {
FullAttention::FullAttention(const ScanShape& shape, const SlotOwner& owner, bool outputs)
    : shape_(shape), owner_(owner), outputs_(outputs), keys_(shape.head_dim, attention_simd().panel) {}

void FullAttention::fill(const ScanBlock& block, FullBuffers& b) {
  const AttentionSimd& simd = attention_simd();
  const ScanInput& input = block.input;
  const int64_t first = block.first_position, keys = first + block.steps;
  const HeadsView& k = input.full_k.data != nullptr ? input.full_k : input.k;
  keys_.reserve(keys);
  keys_.write(first, k.at(owner_.kv_head, block.first_row), k.token_stride, block.steps);

  const int64_t rows = block.steps * owner_.query_heads;
  b.visible.resize(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t end = first + row / owner_.query_heads + 1;
    b.visible[static_cast<size_t>(row)] = {shape_.window > 0 ? std::max<int64_t>(end - shape_.window, 0) : 0,
                                           end};
  }
  const Strip strip{b.strip.at_least(round_up(rows, simd.row_group) * stride(block)), stride(block), rows,
                    b.visible.data()};
  const HeadsView& q = input.full_q.data != nullptr ? input.full_q : input.q;
  simd.scores(strip, pack_queries(block, shape_, owner_, q, b.queries), keys_.data(), shape_.head_dim);
  if (!shape_.alibi_slopes.empty()) add_distances(block, strip, b.distances);
  if (shape_.softcap > 0) simd.softcap(strip, shape_.softcap);
  b.sums.resize(static_cast<size_t>(rows));
  simd.softmax(strip, b.sums.data(), false);
  if (outputs_ && input.full_out.data == nullptr) fill_outputs(block, strip, b.out);
}

void FullAttention::add_distances(const ScanBlock& block, const Strip& strip, DistanceRows& distances) const {
  const int64_t keys = block.first_position + block.steps;
  distances.start(keys);
  std::iota(distances.keys(), distances.keys() + keys, 0);
  for (int64_t row = 0; row < strip.rows; ++row)
    distances.add_row(
        shape_.alibi_slopes[static_cast<size_t>(owner_.first_query_head + row % owner_.query_heads)],
        block.first_position + row / owner_.query_heads);
  attention_simd().add_distances(strip, distances.bias());
}

void FullAttention::fill_outputs(const ScanBlock& block, const Strip& strip, AlignedFloats& outputs) {
  const int64_t dim = shape_.head_dim, first = block.first_position, keys = first + block.steps;
  values_.reserve(keys * dim);
  for (int64_t i = 0; i < block.steps; ++i) {
    std::copy_n(block.input.v.at(owner_.kv_head, block.first_row + i), dim,
                values_.data() + (first + i) * dim);
  }
  const int64_t stride = round_up(dim, 16),
                floats = round_up(strip.rows, attention_simd().row_group) * stride;
  float* const out = outputs.at_least(floats);
  std::fill_n(out, floats, 0.0F);
  for (int64_t column = 0; column < keys; column += scan_key_block) {
    const Span columns{column, std::min(column + scan_key_block, keys)};
    attention_simd().weighted_values(strip, columns, values_.data(), dim, dim, out);
  }
}

std::span<const float> FullAttention::weights(const ScanBlock& block, int64_t step, Aggregate how,
                                              FullBuffers& b) const {
  const int64_t first = step * owner_.query_heads, keys = block.first_position + step + 1;
  b.inverse.clear();
  for (int64_t row = first; row < first + owner_.query_heads; ++row)
    b.inverse.push_back(static_cast<float>(1 / b.sums[static_cast<size_t>(row)].weight));
  float* const all = b.row.at_least(stride(block));
  evicting_scan_simd().aggregate(
      {b.strip.at_least(0) + first * stride(block), stride(block), b.inverse.data(), owner_.query_heads},
      keys, how, all);
  return {all, static_cast<size_t>(keys)};
}

void FullAttention::compare(const ScanBlock& block, int64_t row, const SlotSet& slots, FullBuffers& b,
                            HeadComparison& result) const {
  const EvictingScanSimd& simd = evicting_scan_simd();
  const Span seen = b.visible[static_cast<size_t>(row)];
  const double total = b.sums[static_cast<size_t>(row)].weight;
  // Keys before the window have no weight: they may stand in the first vector.
  const int64_t first = seen.begin / 16 * 16, size = seen.end - first;
  float* const weights = b.strip.at_least(0) + row * stride(block) + first;
  const double demand = std::max(0.01, 2.0 / static_cast<double>(seen.end));
  const HeldWeights held = simd.held({.weights = weights,
                                      .column_of = slots.columns_by_position() + first,
                                      .keys = size,
                                      .demand = static_cast<float>(demand * total)});
  result.demands += held.demands;
  result.hits += held.hits;
  if (slots.kept() == seen.end - seen.begin) {
    result.mass.push_back(1);
    result.bound.push_back(1);
    return;
  }
  float& own = weights[size - 1];
  const float own_weight = own;
  own = 0;
  const double best = simd.largest_sum(weights, size, slots.kept() - 1) + static_cast<double>(own_weight);
  own = own_weight;
  // The sums are rounded in different orders.
  const double mass = std::min(held.mass / total, 1.0);
  result.mass.push_back(static_cast<float>(mass));
  result.bound.push_back(static_cast<float>(std::min(std::max(best / total, mass), 1.0)));
}

float FullAttention::error(const ScanBlock& block, int64_t row, const float* out, FullBuffers& b) const {
  const int64_t head = owner_.first_query_head + row % owner_.query_heads;
  const HeadsView& given = block.input.full_out;
  const float* const full = given.data != nullptr ? given.at(head, block.first_row + row / owner_.query_heads)
                                                  : b.out.at_least(0) + row * round_up(shape_.head_dim, 16);
  const float factor =
      given.data != nullptr ? 1.0F : static_cast<float>(1 / b.sums[static_cast<size_t>(row)].weight);
  double difference = 0, norm = 0;
  for (int64_t c = 0; c < shape_.head_dim; ++c) {
    const auto want = static_cast<double>(full[c] * factor), got = static_cast<double>(out[c]);
    difference += (got - want) * (got - want);
    norm += want * want;
  }
  // Not 0 / 0 where both are zero.
  return difference == 0 ? 0.0F : static_cast<float>(std::sqrt(difference / norm));
}

}  // namespace kvviz::kernels
