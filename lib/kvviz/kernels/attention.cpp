// SPDX-License-Identifier: MIT
#include "kvviz/kernels/attention.hpp"

#include <algorithm>

#include "kvviz/kernels/attention_block.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz::kernels {
namespace {

constexpr int64_t fewest_packed_queries = 8;         // below, packing the keys costs more than it gains
constexpr int64_t longest_chunk = 512;               // a head with more queries is several tasks ...
constexpr int64_t most_chunks = 4;                   // ... but not more: each has its own sums over queries
constexpr int64_t packed_floats = int64_t{1} << 26;  // KV heads are packed in turns of 256 MB
constexpr int64_t pack_block = 1024;

/// Ranges of queries with about the same number of visible keys; a function of the shape alone.
std::vector<Span> chunks(const AttentionProblem& problem) {
  const int64_t count = std::clamp<int64_t>(problem.queries / longest_chunk, 1, most_chunks);
  int64_t total = 0;
  for (int64_t i = 0; i < problem.queries; ++i) {
    const Span seen = visible_keys(problem, i);
    total += seen.end - seen.begin;
  }
  std::vector<Span> ranges;
  int64_t begin = 0, done = 0;
  for (int64_t i = 0; i < problem.queries; ++i) {
    const Span seen = visible_keys(problem, i);
    done += seen.end - seen.begin;
    const bool last = i + 1 == problem.queries;
    const auto made = static_cast<int64_t>(ranges.size());
    if (last || ((i + 1 - begin) % block_rows == 0 && done >= total * (made + 1) / count)) {
      ranges.push_back({begin, i + 1});
      begin = i + 1;
    }
  }
  return ranges;
}

void add(std::vector<double>& to, const std::vector<double>& from) {
  std::transform(from.begin(), from.end(), to.begin(), to.begin(), std::plus<>());
}

BlockAttention& thread_buffers() {
  static thread_local BlockAttention buffers;
  return buffers;
}

/// Packed keys, and values where theirs lie apart, of consecutive KV heads.
class PackedHeads {
 public:
  explicit PackedHeads(const AttentionCall& call)
      : call_(call),
        first_key_(visible_keys(call.problem, 0).begin),
        padded_keys_((call.problem.keys - first_key_ + call.simd.panel - 1) / call.simd.panel *
                     call.simd.panel),
        copies_values_(call.problem.v.token_stride != call.problem.head_dim) {}

  int64_t heads_per_turn() const { return std::max<int64_t>(packed_floats / head_floats(), 1); }

  void pack(int64_t first_head, int64_t heads) {
    static thread_local AlignedFloats buffer;
    packed_ = buffer.at_least(heads * head_floats());
    first_head_ = first_head;
    const int64_t blocks = (padded_keys_ + pack_block - 1) / pack_block;
    parallel_for(heads * blocks, [&](int64_t i) { pack_part(i / blocks, i % blocks * pack_block); });
  }

  HeadKeys head(int64_t kv_head) const {
    const AttentionProblem& p = call_.problem;
    const float* const packed = packed_ + (kv_head - first_head_) * head_floats();
    if (copies_values_) return {first_key_, packed, packed + padded_keys_ * p.head_dim, p.head_dim};
    return {first_key_, packed, p.v.at(kv_head, first_key_), p.v.token_stride};
  }

 private:
  int64_t head_floats() const { return padded_keys_ * call_.problem.head_dim * (copies_values_ ? 2 : 1); }

  void pack_part(int64_t index, int64_t key) {
    const AttentionProblem& p = call_.problem;
    const int64_t kv_head = first_head_ + index;
    const int64_t count = std::min(pack_block, p.keys - first_key_ - key);
    float* const packed = packed_ + index * head_floats();
    call_.simd.pack_keys(p.k.at(kv_head, first_key_ + key), p.k.token_stride, count, p.head_dim,
                         packed + key * p.head_dim);
    for (int64_t j = key; copies_values_ && j < key + count; ++j) {
      std::copy_n(p.v.at(kv_head, first_key_ + j), p.head_dim, packed + (padded_keys_ + j) * p.head_dim);
    }
  }

  const AttentionCall& call_;
  int64_t first_key_, padded_keys_;
  bool copies_values_;
  int64_t first_head_ = 0;
  float* packed_ = nullptr;
};

/// Few queries: the keys are read where they are, once for all the query heads of a KV head that fit one
/// block.
void few_queries(const AttentionCall& call, std::vector<HeadAttention>& heads) {
  const AttentionProblem& p = call.problem;
  const int64_t group = p.query_heads / p.kv_heads;
  const int64_t slice = std::clamp<int64_t>(block_rows / p.queries, 1, group);
  const int64_t slices = (group + slice - 1) / slice;
  const int64_t first_key = visible_keys(p, 0).begin;
  parallel_for(p.kv_heads * slices, [&](int64_t i) {
    const int64_t kv_head = i / slices, within = i % slices * slice;
    const AttentionTask task{.first_head = kv_head * group + within,
                             .heads = std::min(slice, group - within),
                             .queries = {0, p.queries},
                             .keys = {first_key, nullptr, p.v.at(kv_head, first_key), p.v.token_stride}};
    std::vector<HeadSinks> sinks(static_cast<size_t>(task.heads));
    for (size_t h = 0; h < sinks.size() && !heads.empty(); ++h) {
      HeadAttention& head = heads[static_cast<size_t>(task.first_head) + h];
      sinks[h] = {&head, &head};
    }
    thread_buffers().run(call, task, sinks);
  });
}

void many_queries(const AttentionCall& call, std::vector<HeadAttention>& heads) {
  const AttentionProblem& p = call.problem;
  const int64_t group = p.query_heads / p.kv_heads;
  const std::vector<Span> ranges = chunks(p);
  const auto parts = static_cast<int64_t>(ranges.size());
  PackedHeads packed(call);
  const int64_t turn = packed.heads_per_turn();
  for (int64_t first = 0; first < p.kv_heads; first += turn) {
    const int64_t kv_heads = std::min(turn, p.kv_heads - first);
    packed.pack(first, kv_heads);
    const int64_t first_head = first * group, count = kv_heads * group;
    std::vector<HeadAttention> partial(heads.empty() ? 0 : static_cast<size_t>(count * (parts - 1)));
    parallel_for(count * parts, [&](int64_t i) {
      const int64_t head = first_head + i / parts, part = i % parts;
      const AttentionTask task{.first_head = head,
                               .heads = 1,
                               .queries = ranges[static_cast<size_t>(part)],
                               .keys = packed.head(head / group)};
      HeadSinks sinks;
      if (!heads.empty()) {
        sinks.rows = sinks.sums = &heads[static_cast<size_t>(head)];
        if (part > 0) {
          sinks.sums = &partial[static_cast<size_t>(i / parts * (parts - 1) + part - 1)];
          *sinks.sums = empty_sums(call);
        }
      }
      thread_buffers().run(call, task, {&sinks, 1});
    });
    for (size_t i = 0; i < partial.size(); ++i) {
      HeadAttention& head = heads[static_cast<size_t>(first_head) + i / static_cast<size_t>(parts - 1)];
      add(head.key_mass, partial[i].key_mass);
      add(head.recent_mass, partial[i].recent_mass);
      add(head.early_mass, partial[i].early_mass);
      add(head.top_mass, partial[i].top_mass);
      add(head.map, partial[i].map);
    }
  }
}

}  // namespace

std::vector<HeadAttention> attention(const AttentionProblem& problem, const AttentionRequest& request) {
  std::vector<HeadAttention> heads;
  const AttentionCall call = attention_call(problem, request);
  for (int64_t h = 0; request.statistics && h < problem.query_heads; ++h)
    heads.push_back(empty_statistics(call, h));
  if (problem.queries == 0) return heads;
  problem.queries < fewest_packed_queries ? few_queries(call, heads) : many_queries(call, heads);
  for (HeadAttention& head : heads) finish(call, head);
  return heads;
}

}  // namespace kvviz::kernels
