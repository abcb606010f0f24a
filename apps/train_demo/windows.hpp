// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <random>
#include <vector>

namespace kvviz {

/// Ids written as text, whitespace between them.
std::vector<int32_t> read_ids(const std::filesystem::path& file);

struct Batch {
  at::Tensor input, target;  ///< int64 [windows, length]
};

/// In how many windows passages come again, how many at most in a window, and tokens of the shortest.
struct Repeats {
  double share = 0;
  int64_t passages = 1, shortest = 24;
};

/// Windows at random places of the stream, each starting with BOS: the attention sink needs a fixed place. In
/// a share of them passages of up to 96 tokens come again later in the window: induction heads form early,
/// and a head that finds nothing to copy rests on BOS.
Batch random_windows(const std::vector<int32_t>& stream, int64_t windows, int64_t length,
                     const Repeats& repeats, std::mt19937_64& random);

/// Window number `index` of a walk through the stream, without repeats.
Batch held_out_window(const std::vector<int32_t>& stream, int64_t index, int64_t length);

}  // namespace kvviz
