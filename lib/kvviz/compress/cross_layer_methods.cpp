// SPDX-License-Identifier: MIT
#include <array>
#include <charconv>

#include "kvviz/compress/cross_layer.hpp"
#include "kvviz/compress/table.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz::compress {
namespace {

/// "0.25" and "8" of "0.25:8"; `rest` is empty without a ':'.
struct Split {
  std::string_view first, rest;
};

Split split(std::string_view method, std::string_view arguments) {
  const size_t colon = arguments.find(':');
  if (colon == arguments.npos) return {arguments, {}};
  const Split parts{arguments.substr(0, colon), arguments.substr(colon + 1)};
  require<UsageError>(!parts.rest.empty(), "[", method, "] got '", arguments, "', which ends in ':'");
  return parts;
}

std::unique_ptr<Codec> make_xkv(std::string_view arguments) {
  const GroupedKept parsed = parse_grouped_kept("xkv", arguments, XkvOptions{}.group);
  return xkv_codec({.kept = parsed.kept, .group = parsed.group});
}

double interpolation(std::string_view text) {
  double t = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, t, std::chars_format::fixed);
  require<UsageError>(
      error == std::errc() && stop == end && t >= 0 && t <= 1, "[minicache] got '", text,
      "', expected where between the lower and the upper layer's direction the shared one lies,",
      " 0 to 1, like minicache:0.6");
  return t;
}

std::unique_ptr<Codec> make_minicache(std::string_view arguments) {
  const Split parts = split("minicache", arguments);
  MiniCacheOptions options;
  if (!arguments.empty()) options.interpolation = interpolation(parts.first);
  if (const auto numbers = whole_arguments("minicache", parts.rest, 1); !numbers.empty())
    options.first_merged = numbers[0];
  return minicache_codec(options);
}

}  // namespace

std::span<const MethodInfo> cross_layer_methods() {
  static constexpr std::array<std::string_view, 6> shares{"0.75", "0.5", "0.375", "0.25", "0.125", "0.0625"};
  static constexpr std::array<std::string_view, 2> merged{"", "0.6:0"};
  static const std::array all{
      MethodInfo{
          "xkv", "RANK|SHARE[:GROUP]",
          "one basis of the tokens for adjacent layers side by side, in f16, and each layer's own factor",
          "Chang et al., 2025 (arXiv 2503.18893)", make_xkv, shares},
      MethodInfo{
          "minicache", "[INTERPOLATION[:FROM]]",
          "pairs of layers from the middle up share directions; lengths, and the 5 % of tokens that differ "
          "most, stay each layer's own",
          "Liu et al., NeurIPS 2024 (arXiv 2405.14366)", make_minicache, merged}};
  return all;
}

}  // namespace kvviz::compress
