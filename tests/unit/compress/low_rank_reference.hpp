// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <Eigen/Dense>
#include <array>
#include <cstdint>

namespace kvviz::test {

/// f16 keeps 11 bits: a factor is off by at most 2^-11, the product of three by a little more than 2^-10 of
/// |X|, and by much less on average.
inline constexpr double kHalfError = 1e-3;

at::Tensor gaussian(std::array<int64_t, 3> shape, unsigned seed);

/// Channels of unequal size that go together, a mean, and a little of everything, as in keys.
at::Tensor correlated(std::array<int64_t, 3> shape, unsigned seed);

/// |restored - x| / |x| in double; fails unless `restored` is dense f32 of the same shape.
double relative_error(const at::Tensor& restored, const at::Tensor& x);

/// Of two axes.
Eigen::MatrixXd matrix(const at::Tensor& x);

/// Sum of the squared singular values beyond `rank`, by Jacobi rotations in fp64.
double energy_left_out(const Eigen::MatrixXd& m, int64_t rank);

}  // namespace kvviz::test
