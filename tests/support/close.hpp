// SPDX-License-Identifier: MIT
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <ranges>
#include <string>
#include <type_traits>

namespace kvviz::test {

/// got is close to want when |got - want| <= abs + rel x |want|. Say beside the tolerance where it comes
/// from.
struct Tol {
  double abs = 0, rel = 0;
};

namespace detail {

template <class T>
constexpr bool is_number = std::is_arithmetic_v<T>;

/// The first difference in words, or nothing. NaN and infinity are close to nothing; empty ranges are never
/// close.
template <class Got, class Want>
std::string difference(const Got& got, const Want& want, Tol tol, const std::string& where) {
  if constexpr (is_number<Got> && is_number<Want>) {
    const auto g = static_cast<double>(got), w = static_cast<double>(want);
    if (std::isfinite(g) && std::isfinite(w) && std::fabs(g - w) <= tol.abs + tol.rel * std::fabs(w))
      return {};
    return "got" + where + " = " + std::to_string(g) + ", want " + std::to_string(w) + ", difference " +
           std::to_string(std::fabs(g - w));
  } else {
    const auto size = std::ranges::size(got), wanted = std::ranges::size(want);
    if (wanted == 0) return "want" + where + " is empty: nothing is compared";
    if (size != wanted)
      return "got" + where + " has size " + std::to_string(size) + ", want " + std::to_string(wanted);
    auto g = std::ranges::begin(got);
    auto w = std::ranges::begin(want);
    for (std::size_t i = 0; i < wanted; ++i, ++g, ++w) {
      std::string text = difference(*g, *w, tol, where + "[" + std::to_string(i) + "]");
      if (!text.empty()) return text;
    }
    return {};
  }
}

}  // namespace detail

/// Checks numbers, ranges of numbers, ranges of ranges: same shape, nothing empty, every number finite and
/// close.
template <class Got, class Want>
void check_close(const Got& got, const Want& want, Tol tol) {
  const std::string difference = detail::difference(got, want, tol, "");
  DOCTEST_INFO(difference);  // libtorch's logging has a CHECK of its own
  DOCTEST_CHECK(difference.empty());
}

}  // namespace kvviz::test
