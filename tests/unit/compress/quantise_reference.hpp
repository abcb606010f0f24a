// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/Functions.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/compress/codec.hpp"

namespace kvviz::test {

struct Shape {
  int64_t heads = 1, tokens = 1, channels = 1;
};

/// Normal numbers with an offset and a scale of its own for each channel.
at::Tensor cache_like(Shape shape, unsigned seed);

/// The f32 numbers of a dense tensor, in order.
std::vector<float> numbers(const at::Tensor& x);

compress::Coded code(const std::string& method, const at::Tensor& x,
                     compress::Side side = compress::Side::key);

/// sum (restored - x)^2, in double.
double squared_error(const at::Tensor& restored, const at::Tensor& x);

/// IEEE half of x by its definition, in double; saturating.
double half_of(double x);

/// What a quantiser may restore. `other` differs from `value` only where the element lies so close to the
/// middle of two codes that f32 arithmetic may choose either.
struct Expected {
  std::vector<double> value, other;

  explicit Expected(size_t size) : value(size, 0.0), other(size, 0.0) {}
};

/// Elements that share a grid: indices into the flat tensor.
using Group = std::vector<size_t>;

/// Groups of `length` successive tokens of each channel (by_token false) or channels of each token, among the
/// tokens [first, last). A group at the end is shorter.
struct GroupsOf {
  bool by_token = true;
  int64_t length = 1, first = 0, last = 0;
};
std::vector<Group> groups(Shape shape, const GroupsOf& which);

/// Asymmetric round to nearest of each group, from the formulas, in double.
void round_to_nearest(const std::vector<float>& x, const std::vector<Group>& groups, int bits, Expected& out);

/// Tokens [first, last) as f16.
void keep_half(const std::vector<float>& x, Shape shape, int64_t first, int64_t last, Expected& out);

/// How many of the restored numbers are neither of the expected ones, within `tolerance`.
size_t misses(const at::Tensor& restored, const Expected& want, double tolerance);

}  // namespace kvviz::test
