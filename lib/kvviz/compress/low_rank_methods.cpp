// SPDX-License-Identifier: MIT
#include <array>
#include <charconv>

#include "kvviz/compress/low_rank.hpp"
#include "kvviz/compress/table.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz::compress {
namespace {

/// A decimal number above 0 and below 1 ("0.25"); nothing if the text has no decimal point.
std::optional<double> share_argument(std::string_view method, std::string_view text) {
  if (text.find('.') == text.npos) return std::nullopt;
  double share = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, share, std::chars_format::fixed);
  require<UsageError>(error == std::errc() && stop == end && share > 0 && share < 1, "[", method, "] got '",
                      text, "', expected a share above 0 and below 1, like ", method, ":0.25");
  return share;
}

int64_t rank_argument(std::string_view method, std::string_view text) {
  const std::vector<int64_t> ranks = whole_arguments(method, text, 1);
  require<UsageError>(ranks.size() == 1 && ranks[0] >= 1, "[", method, "] got '", text,
                      "', expected a rank of 1 or more, like ", method, ":16, or a share of the bytes, like ",
                      method, ":0.25");
  return ranks[0];
}

std::unique_ptr<Codec> make_svd(std::string_view arguments) {
  return svd_codec({.kept = parse_kept("svd", arguments)});
}

std::unique_ptr<Codec> make_pca(std::string_view arguments) {
  return svd_codec({.kept = parse_kept("pca", arguments), .center = true});
}

std::unique_ptr<Codec> make_svd_joint(std::string_view arguments) {
  const GroupedKept parsed = parse_grouped_kept("svd_joint", arguments, 0);
  return svd_codec({.kept = parsed.kept, .joint = true, .group = parsed.group});
}

std::unique_ptr<Codec> make_svd_energy(std::string_view arguments) {
  const auto energy = share_argument("svd_energy", arguments);
  require<UsageError>(energy.has_value(), "[svd_energy] got '", arguments,
                      "', expected the share of the energy to keep, like svd_energy:0.95");
  return svd_codec({.kept = {.energy = energy}});
}

std::unique_ptr<Codec> make_tucker(std::string_view arguments) {
  if (const auto share = share_argument("tucker", arguments)) return tucker_codec({.share = share});
  const std::vector<int64_t> ranks = whole_arguments("tucker", arguments, 3);
  require<UsageError>(ranks.size() == 3 && ranks[0] >= 1 && ranks[1] >= 1 && ranks[2] >= 1, "[tucker] got '",
                      arguments, "', expected three ranks of 1 or more, like tucker:8:64:32 (heads, tokens, ",
                      "channels), or a share of the bytes, like tucker:0.25");
  return tucker_codec({.ranks = stats::Ranks{ranks[0], ranks[1], ranks[2]}});
}

std::unique_ptr<Codec> make_groups(std::string_view arguments) {
  double similarity = 0;
  const char* const end = arguments.data() + arguments.size();
  const auto [stop, error] = std::from_chars(arguments.data(), end, similarity, std::chars_format::fixed);
  require<UsageError>(
      error == std::errc() && stop == end && similarity > 0 && similarity < 1, "[groups] got '", arguments,
      "', expected the correlation that channels of a group have at least, above 0 and below 1, "
      "like groups:0.85");
  return groups_codec(similarity);
}

}  // namespace

Kept parse_kept(std::string_view method, std::string_view text) {
  if (const auto share = share_argument(method, text)) return {.share = share};
  return {.rank = rank_argument(method, text)};
}

GroupedKept parse_grouped_kept(std::string_view method, std::string_view arguments, int64_t otherwise) {
  const size_t colon = arguments.find(':');
  GroupedKept parsed{.kept = parse_kept(method, arguments.substr(0, colon)), .group = otherwise};
  if (colon == arguments.npos) return parsed;
  const auto numbers = whole_arguments(method, arguments.substr(colon + 1), 1);
  require<UsageError>(numbers.size() == 1 && numbers[0] >= 1, "[", method, "] got '",
                      arguments.substr(colon + 1), "' behind the ':' of '", method, ':', arguments,
                      "', expected a group of 1 or more");
  parsed.group = numbers[0];
  return parsed;
}

std::span<const MethodInfo> low_rank_methods() {
  // Shares fit every model; ranks would not.
  static constexpr std::array<std::string_view, 6> shares{"0.75", "0.5", "0.375", "0.25", "0.125", "0.0625"};
  static constexpr std::array<std::string_view, 4> energies{"0.999", "0.99", "0.95", "0.9"};
  static constexpr std::array<std::string_view, 5> correlations{"0.95", "0.85", "0.7", "0.5", "0.3"};
  static constexpr std::string_view eckart = "Eckart & Young, Psychometrika 1, 1936";
  static const std::array all{
      MethodInfo{"svd", "RANK|SHARE",
                 "each head's [tokens, head_dim] by its leading singular vectors, factors in f16", eckart,
                 make_svd, shares},
      MethodInfo{"svd_energy", "SHARE",
                 "svd with the rank of each head that keeps this share of its sum of squares", eckart,
                 make_svd_energy, energies},
      MethodInfo{"pca", "RANK|SHARE", "svd less the mean over tokens, which is stored", eckart, make_pca,
                 shares},
      MethodInfo{"svd_joint", "RANK|SHARE[:HEADS]",
                 "one basis for all heads of a layer side by side, or for groups of HEADS, factors in f16",
                 "Chang et al., ICLR 2025 (arXiv 2407.21118)", make_svd_joint, shares},
      MethodInfo{
          "tucker", "HEADS:TOKENS:CHANNELS|SHARE",
          "core and one basis for heads, for tokens and for channels, in f16; a share chooses the ranks",
          "De Lathauwer et al., SIAM J. Matrix Anal. Appl. 21, 2000", make_tucker, shares},
      MethodInfo{"groups", "CORRELATION",
                 "one shared channel for the channels of a head that correlate, a scale and a mean each", "",
                 make_groups, correlations}};
  return all;
}

}  // namespace kvviz::compress
