// SPDX-License-Identifier: MIT
#include "kvviz/compress/quantise.hpp"

#include <algorithm>

#include "kvviz/compress/row_kernels.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz::compress {
namespace {

/// Of `length` elements in groups, and how many times.
Bytes grouped_bytes(int64_t length, int64_t group, int bits, int64_t times) {
  int64_t payload = 0, groups = 0;
  for (int64_t first = 0; first < length; first += group, ++groups)
    payload += packed_bytes(std::min(group, length - first), bits);
  return {.payload = static_cast<double>(payload * times),
          .metadata = static_cast<double>(4 * groups * times)};
}

/// ggml's: the scale of a block of 32 takes two bytes.
Bytes block_bytes(const Rows& rows, int bits) {
  const Bytes two_numbers = grouped_bytes(rows.channels, 32, bits, rows.tokens);
  return {.payload = two_numbers.payload, .metadata = two_numbers.metadata / 2};
}

}  // namespace

int64_t packed_bytes(int64_t count, int bits) {
  return (count * bits + 7) / 8;
}

void quantise_on(const Rows& rows, const Grid& grid, int bits) {
  row_kernels::quantise_on(rows, grid, bits);
}

Bytes quantise_tokens(const Rows& rows, Grouping grouping) {
  row_kernels::quantise_tokens(rows, grouping);
  const int64_t group = grouping.group > 0 ? grouping.group : rows.channels;
  return grouped_bytes(rows.channels, group, grouping.bits, rows.tokens);
}

Bytes quantise_channels(const Rows& rows, Grouping grouping) {
  row_kernels::quantise_channels(rows, grouping);
  const int64_t group = grouping.group > 0 ? grouping.group : rows.tokens;
  return grouped_bytes(rows.tokens, group, grouping.bits, rows.channels);
}

Bytes quantise_q8_0(const Rows& rows) {
  row_kernels::quantise_q8_0(rows);
  return block_bytes(rows, 8);
}

Bytes quantise_q4_0(const Rows& rows) {
  row_kernels::quantise_q4_0(rows);
  return block_bytes(rows, 4);
}

Bytes keep_f16(const Rows& rows) {
  row_kernels::round_to_f16(rows);
  return {.metadata = 2.0 * static_cast<double>(rows.size())};
}

int64_t kivi_quantised_tokens(int64_t n, Side side, Grouping grouping, int64_t window) {
  if (side == Side::value) return std::max<int64_t>(n - window, 0);
  return n - n % (window > 0 ? window : grouping.group);
}

Grouping parse_grouping(std::string_view method, const std::vector<int64_t>& numbers) {
  require<UsageError>(!numbers.empty(), "[", method, "] got no bits, expected ", method,
                      ":BITS with 2, 3, 4 or 8");
  const int64_t bits = numbers[0];
  require<UsageError>(bits == 2 || bits == 3 || bits == 4 || bits == 8, "[", method, "] got ", bits,
                      " bits, expected 2, 3, 4 or 8");
  if (numbers.size() == 1) return {.bits = static_cast<int>(bits)};
  require<UsageError>(numbers[1] >= 2, "[", method, "] got a group of ", numbers[1],
                      ", expected 2 or more: each element of a group of 1 would be its own zero point");
  return {.bits = static_cast<int>(bits), .group = numbers[1]};
}

}  // namespace kvviz::compress
