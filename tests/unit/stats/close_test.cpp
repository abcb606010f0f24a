// SPDX-License-Identifier: MIT
#include "support/close.hpp"

#include <limits>
#include <vector>

using kvviz::test::check_close;
using kvviz::test::Tol;
using Vector = std::vector<double>;
using Matrix = std::vector<Vector>;

namespace {
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}  // namespace

TEST_CASE("[close] what is equal or within the tolerance passes") {
  check_close(1.0, 1.0, Tol{});
  check_close(1.25, 1.0, Tol{.abs = 0.25});
  check_close(-8.5, -8.0, Tol{.rel = 0.0625});
  check_close(3, 3.0F, Tol{});
  check_close(Vector{1, 2}, std::vector<float>{1, 2}, Tol{});
  check_close(Matrix{{1, 2}, {3}}, Matrix{{1, 2}, {3}}, Tol{});
}

TEST_CASE("[close] NaN got" * doctest::should_fail()) {
  check_close(kNaN, 1.0, Tol{.abs = 1e9});
}
TEST_CASE("[close] NaN wanted" * doctest::should_fail()) {
  check_close(1.0, kNaN, Tol{.abs = 1e9});
}
TEST_CASE("[close] NaN on both sides" * doctest::should_fail()) {
  check_close(kNaN, kNaN, Tol{.abs = 1e9});
}
TEST_CASE("[close] NaN inside a range" * doctest::should_fail()) {
  check_close(Vector{1, kNaN}, Vector{1, 2}, Tol{.abs = 1e9});
}
TEST_CASE("[close] infinity" * doctest::should_fail()) {
  check_close(kInfinity, kInfinity, Tol{.rel = 1});
}
TEST_CASE("[close] a swapped sign" * doctest::should_fail()) {
  check_close(-1.0, 1.0, Tol{.abs = 1.5});
}
TEST_CASE("[close] a swapped sign of a small number" * doctest::should_fail()) {
  check_close(-1e-9, 1e-9, Tol{.rel = 1.5});
}
TEST_CASE("[close] outside the tolerance" * doctest::should_fail()) {
  check_close(1.5, 1.0, Tol{.abs = 0.25});
}
TEST_CASE("[close] the last of many" * doctest::should_fail()) {
  check_close(Vector{1, 2, 3.5}, Vector{1, 2, 3}, Tol{.abs = 0.25});
}
TEST_CASE("[close] another size" * doctest::should_fail()) {
  check_close(Vector{1, 2}, Vector{1, 2, 3}, Tol{});
}
TEST_CASE("[close] another shape of as many numbers" * doctest::should_fail()) {
  check_close(Matrix{{1, 2}, {3, 4}}, Matrix{{1, 2, 3}, {4}}, Tol{});
}
TEST_CASE("[close] both empty" * doctest::should_fail()) {
  check_close(Vector{}, Vector{}, Tol{});
}
TEST_CASE("[close] an empty row" * doctest::should_fail()) {
  check_close(Matrix{{1}, {}}, Matrix{{1}, {}}, Tol{});
}
