// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <limits>
#include <mutex>

#include "kvviz/compress/hadamard.hpp"
#include "kvviz/compress/quantise.hpp"
#include "kvviz/compress/row_kernels.hpp"
#include "kvviz/compress/table.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz::compress {
namespace {

class PerTensor final : public Codec {
 public:
  explicit PerTensor(Grouping grouping) : bits_(grouping.bits) {}

  Coded code(const at::Tensor& x, Side /*side*/) const override {
    const Sheet sheet(x);
    const int64_t piece = piece_tokens(sheet.channels());
    const Grid grid = grid_of(sheet, piece);
    sheet.for_each(sheet.all(), piece, [&](const Rows& rows) {
      quantise_on(rows, grid, bits_);
      return Bytes{};
    });
    return {sheet.restored(), {static_cast<double>(packed_bytes(x.numel(), bits_)), 4}};
  }

 private:
  Grid grid_of(const Sheet& sheet, int64_t piece) const {
    float low = std::numeric_limits<float>::infinity(), high = -low;
    std::mutex mutex;
    sheet.for_each(sheet.all(), piece, [&](const Rows& rows) {
      const row_kernels::Range part = row_kernels::range(rows);
      const std::lock_guard lock(mutex);
      low = std::min(low, part.low);
      high = std::max(high, part.high);
      return Bytes{};
    });
    return min_max_grid(low, high, bits_);
  }

  int bits_;
};

class PerToken final : public Codec {
 public:
  explicit PerToken(Grouping grouping) : grouping_(grouping) {}

  Coded code(const at::Tensor& x, Side /*side*/) const override {
    const Sheet sheet(x);
    const Bytes bytes = sheet.for_each(sheet.all(), piece_tokens(sheet.channels()),
                                       [&](const Rows& rows) { return quantise_tokens(rows, grouping_); });
    return {sheet.restored(), bytes};
  }

  bool token_local() const override { return true; }

 private:
  Grouping grouping_;
};

class PerChannel final : public Codec {
 public:
  explicit PerChannel(Grouping grouping) : grouping_(grouping) {}

  Coded code(const at::Tensor& x, Side /*side*/) const override {
    const Sheet sheet(x);
    const int64_t piece = grouping_.group > 0 ? piece_tokens(sheet.channels(), grouping_.group) : 0;
    const Bytes bytes = sheet.for_each(sheet.all(), piece,
                                       [&](const Rows& rows) { return quantise_channels(rows, grouping_); });
    return {sheet.restored(), bytes};
  }

 private:
  Grouping grouping_;
};

class Kivi final : public Codec {
 public:
  Kivi(Grouping grouping, int64_t window) : grouping_(grouping), window_(window) {}

  Coded code(const at::Tensor& x, Side side) const override {
    const Sheet sheet(x);
    const int64_t boundary = kivi_quantised_tokens(sheet.tokens(), side, grouping_, window_);
    const bool keys = side == Side::key;
    const Bytes coded = sheet.for_each(
        {0, boundary}, piece_tokens(sheet.channels(), keys ? grouping_.group : 1), [&](const Rows& rows) {
          return keys ? quantise_channels(rows, grouping_) : quantise_tokens(rows, grouping_);
        });
    const Bytes kept = sheet.for_each({boundary, sheet.tokens()}, 0, keep_f16);
    return {sheet.restored(), {coded.payload, coded.metadata + kept.metadata}};
  }

 private:
  Grouping grouping_;
  int64_t window_;
};

template <Bytes (*Quantise)(const Rows&)>
class Blocks final : public Codec {
 public:
  Coded code(const at::Tensor& x, Side /*side*/) const override {
    const Sheet sheet(x);
    const Bytes bytes = sheet.for_each(sheet.all(), piece_tokens(sheet.channels()), Quantise);
    return {sheet.restored(), bytes};
  }

  bool token_local() const override { return true; }
};

std::unique_ptr<Codec> make_per_tensor(std::string_view arguments) {
  return std::make_unique<PerTensor>(
      parse_grouping("rtn_tensor", whole_arguments("rtn_tensor", arguments, 1)));
}

std::unique_ptr<Codec> make_per_token(std::string_view arguments) {
  return std::make_unique<PerToken>(parse_grouping("rtn_token", whole_arguments("rtn_token", arguments, 2)));
}

std::unique_ptr<Codec> make_per_channel(std::string_view arguments) {
  return std::make_unique<PerChannel>(
      parse_grouping("rtn_channel", whole_arguments("rtn_channel", arguments, 2)));
}

std::unique_ptr<Codec> make_kivi(std::string_view arguments) {
  const auto numbers = whole_arguments("kivi", arguments, 3);
  Grouping grouping = parse_grouping("kivi", numbers);
  if (grouping.group == 0) grouping.group = 32;
  const int64_t window = numbers.size() > 2 ? numbers[2] : 128;
  require<UsageError>(window % grouping.group == 0, "[kivi] got a window of ", window,
                      " tokens with groups of ", grouping.group, ", expected a multiple of ", grouping.group,
                      " or 0: keys leave it in groups");
  return std::make_unique<Kivi>(grouping, window);
}

template <Bytes (*Quantise)(const Rows&)>
std::unique_ptr<Codec> make_blocks(std::string_view arguments) {
  require<UsageError>(arguments.empty(), "[method] got '", arguments,
                      "' behind the ':', expected nothing: q8_0 and q4_0 take no argument");
  return std::make_unique<Blocks<Quantise>>();
}

}  // namespace

std::span<const MethodInfo> quantised_methods() {
  using Texts = std::array<std::string_view, 5>;
  static constexpr std::array<std::string_view, 4> bits{"8", "4", "3", "2"};
  static constexpr Texts in_groups{"8", "4:32", "4", "3", "2"};
  static constexpr Texts kivi{"8", "4", "3", "2", "2:32:32"};
  static constexpr std::array<std::string_view, 4> rotated{"rtn_token:8", "q4_0", "rtn_token:3",
                                                           "rtn_token:2"};
  static constexpr std::array<std::string_view, 1> as_it_is{""};
  static const std::array all{
      MethodInfo{
          "kivi", "BITS[:GROUP[:WINDOW]]",
          "keys by channel over groups of tokens, values by token over groups of channels, a window in f16",
          "Liu et al., ICML 2024 (arXiv 2402.02750)", make_kivi, kivi},
      MethodInfo{"rtn_tensor", "BITS",
                 "round to nearest between minimum and maximum of the layer's keys or values", "",
                 make_per_tensor, bits},
      MethodInfo{
          "rtn_token", "BITS[:GROUP]",
          "round to nearest between minimum and maximum of each head's token, or of groups of its channels",
          "", make_per_token, in_groups},
      MethodInfo{
          "rtn_channel", "BITS[:GROUP]",
          "round to nearest between minimum and maximum of each head's channel, or of groups of its tokens",
          "", make_per_channel, in_groups},
      MethodInfo{"q8_0", "", "blocks of 32 channels, 8 bits, one f16 scale", "ggml",
                 make_blocks<quantise_q8_0>, as_it_is},
      MethodInfo{"q4_0", "", "blocks of 32 channels, 4 bits, one f16 scale", "ggml",
                 make_blocks<quantise_q4_0>, as_it_is},
      MethodInfo{"hadamard", "METHOD", "another method behind a Walsh-Hadamard rotation of the channels",
                 "Ashkboos et al., NeurIPS 2024 (arXiv 2404.00456)", make_hadamard, rotated}};
  return all;
}

}  // namespace kvviz::compress
