// SPDX-License-Identifier: MIT
#include "unit/compress/low_rank_reference.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <random>

namespace kvviz::test {

at::Tensor gaussian(std::array<int64_t, 3> shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const at::Tensor x = at::empty({shape[0], shape[1], shape[2]});
  for (int64_t i = 0; i < x.numel(); ++i) x.data_ptr<float>()[i] = normal(random);
  return x;
}

at::Tensor correlated(std::array<int64_t, 3> shape, unsigned seed) {
  const at::Tensor mix = gaussian({shape[0], shape[2], shape[2]}, seed + 1);
  const at::Tensor scale = at::logspace(0, -3, shape[2]);
  const at::Tensor mean = gaussian({shape[0], 1, shape[2]}, seed + 2);
  return at::matmul(gaussian(shape, seed) * scale, mix) + 2 * mean;
}

double relative_error(const at::Tensor& restored, const at::Tensor& x) {
  REQUIRE(restored.sizes() == x.sizes());
  REQUIRE(restored.is_contiguous());
  REQUIRE((restored.scalar_type() == at::kFloat));
  const at::Tensor wide = x.to(at::kDouble);
  return ((restored.to(at::kDouble) - wide).norm() / wide.norm()).item<double>();
}

Eigen::MatrixXd matrix(const at::Tensor& x) {
  Eigen::MatrixXd m(x.size(0), x.size(1));
  for (int64_t i = 0; i < m.rows(); ++i) {
    for (int64_t j = 0; j < m.cols(); ++j) m(i, j) = double{x[i][j].item<float>()};
  }
  return m;
}

double energy_left_out(const Eigen::MatrixXd& m, int64_t rank) {
  const Eigen::VectorXd s = Eigen::JacobiSVD<Eigen::MatrixXd>(m).singularValues();
  return s.size() > rank ? s.tail(s.size() - rank).squaredNorm() : 0;
}

}  // namespace kvviz::test
