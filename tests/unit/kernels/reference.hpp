// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <random>
#include <vector>

#include "kvviz/kernels/attention.hpp"

namespace kvviz::test {

/// Owns the tensors of an AttentionProblem. Queries, keys and values lie apart in memory as the strides say,
/// and everything between them is NaN, so that a read in the wrong place shows.
struct AttentionCase {
  int64_t query_heads = 2, kv_heads = 2, head_dim = 16, queries = 8, keys = 8;
  float scale = 0.25F, softcap = 0, spread = 1;
  int64_t window = 0;
  int64_t gap = 0;              ///< floats between one token's row and the next
  float alibi = 0;              ///< the first head's slope; head h has this / (h + 1)
  int64_t first_position = -1;  ///< >= 0: key j stands at this + j + j / 3
  unsigned seed = 1;
};

class AttentionData {
 public:
  explicit AttentionData(const AttentionCase& c);
  const kernels::AttentionProblem& problem() const { return problem_; }
  std::vector<float> q, k, v, out;

 private:
  std::vector<float> slopes_;
  std::vector<int32_t> positions_;
  kernels::AttentionProblem problem_;
};

/// One query head by the definitions, in double, from the whole matrix.
struct ReferenceHead {
  std::vector<double> weights;  ///< [queries x keys]
  std::vector<double> out;      ///< [queries x head_dim]
  std::vector<double> key_mass, recent_mass, early_mass, entropy, distance, first_mass, sink_mass, self_mass,
      watched_mass, heaviest_mass, top_mass, map;
  std::vector<double> small_low, small_high;  ///< small_share with the 1 % threshold moved by 1e-4 of itself
};
ReferenceHead reference_head(const kernels::AttentionProblem& problem,
                             const kernels::AttentionRequest& request, int64_t head);

}  // namespace kvviz::test
