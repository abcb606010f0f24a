// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/stats/spectrum.hpp"

namespace kvviz::stats {

/// Orthonormal directions of a matrix, those of the largest singular values first.
struct Basis {
  int64_t size = 0, rank = 0;
  std::vector<double> vectors;   ///< row-major [size, rank]; the largest element of a column is positive
  std::vector<double> energies;  ///< squared singular values of these directions, descending
};

/// The `rank` leading left singular vectors (directions of the space of rows, size = x.rows), or the leading
/// right ones (size = x.cols). Eigenvectors of the smaller Gram matrix in fp64; when that is the one of the
/// other side, its image under X, made orthonormal by Householder QR. Energies below 2.2e-16 x the smaller
/// side of the largest are rounding and become 0; their directions only complete the basis. rank in 1 ..
/// min(rows, cols), else DataError. Cost: the Gram matrix plus 4/3 side^3 flops; memory side^2 doubles. Make
/// a SerialBlas first.
Basis leading_left(MatrixView x, int64_t rank);
Basis leading_right(MatrixView x, int64_t rank);

/// The `rank` leading eigenvectors of a Gram matrix. `energies` as above.
Basis leading_eigenvectors(const Gram& gram, int64_t rank);

}  // namespace kvviz::stats
