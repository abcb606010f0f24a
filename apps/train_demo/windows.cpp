// SPDX-License-Identifier: MIT
#include "train_demo/windows.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <fstream>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

constexpr int32_t bos = 1;

// BOS and `length` tokens: inputs and targets overlap by all but one.
std::vector<int64_t> window_at(const std::vector<int32_t>& stream, size_t start, int64_t length) {
  std::vector<int64_t> ids{bos};
  const auto from = stream.begin() + static_cast<std::ptrdiff_t>(start);
  ids.insert(ids.end(), from, from + length);
  return ids;
}

int64_t between(int64_t low, int64_t high, std::mt19937_64& random) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

void repeat_a_passage(std::vector<int64_t>& ids, int64_t shortest, std::mt19937_64& random) {
  const auto size = static_cast<int64_t>(ids.size());
  const int64_t passage = between(shortest, std::min<int64_t>(96, size / 3), random);
  const int64_t first = between(1, size - 2 * passage, random);
  const int64_t again = between(first + passage, size - passage, random);
  std::copy_n(ids.begin() + first, passage, ids.begin() + again);
}

Batch to_batch(const std::vector<std::vector<int64_t>>& windows) {
  const auto rows = static_cast<int64_t>(windows.size());
  const auto length = static_cast<int64_t>(windows.front().size()) - 1;
  Batch batch{at::empty({rows, length}, at::kLong), at::empty({rows, length}, at::kLong)};
  for (int64_t row = 0; row < rows; ++row) {
    const auto& ids = windows[static_cast<size_t>(row)];
    std::copy_n(ids.begin(), length, batch.input.data_ptr<int64_t>() + row * length);
    std::copy_n(ids.begin() + 1, length, batch.target.data_ptr<int64_t>() + row * length);
  }
  return batch;
}

}  // namespace

std::vector<int32_t> read_ids(const std::filesystem::path& file) {
  std::ifstream in(file);
  require(in.good(), "cannot read ", file.string());
  std::vector<int32_t> ids;
  for (int32_t id = 0; in >> id;) ids.push_back(id);
  require(in.eof() && ids.size() > 4096, file.string(), ": expected many token ids, got ", ids.size());
  return ids;
}

Batch random_windows(const std::vector<int32_t>& stream, int64_t windows, int64_t length,
                     const Repeats& repeats, std::mt19937_64& random) {
  std::uniform_int_distribution<size_t> start(0, stream.size() - static_cast<size_t>(length) - 1);
  std::bernoulli_distribution repeated(repeats.share);
  std::vector<std::vector<int64_t>> rows;
  for (int64_t i = 0; i < windows; ++i) {
    rows.push_back(window_at(stream, start(random), length));
    if (!repeated(random)) continue;
    for (int64_t left = between(1, repeats.passages, random); left > 0; --left)
      repeat_a_passage(rows.back(), repeats.shortest, random);
  }
  return to_batch(rows);
}

Batch held_out_window(const std::vector<int32_t>& stream, int64_t index, int64_t length) {
  return to_batch({window_at(stream, static_cast<size_t>(index * length), length)});
}

}  // namespace kvviz
