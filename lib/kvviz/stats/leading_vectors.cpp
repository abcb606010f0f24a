// SPDX-License-Identifier: MIT
#include "kvviz/stats/leading_vectors.hpp"

#include <cblas.h>

#include <Eigen/Dense>
#include <cmath>
#include <limits>

#include "kvviz/core/error.hpp"

// LAPACK, which OpenBLAS contains, without a header of its own. Unlike Eigen's solver it can stop at the
// leading eigenvectors, and its reduction is blocked.
extern "C" void dsyevr_(const char* jobz, const char* range, const char* uplo, const blasint* n, double* a,
                        const blasint* lda, const double* vl, const double* vu, const blasint* il,
                        const blasint* iu, const double* abstol, blasint* m, double* w, double* z,
                        const blasint* ldz, blasint* isuppz, double* work, const blasint* lwork,
                        blasint* iwork, const blasint* liwork, blasint* info, size_t jobz_length,
                        size_t range_length, size_t uplo_length);

namespace kvviz::stats {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Eigenvalues ascending with their vectors as columns, of the largest `rank`.
struct Ascending {
  Eigen::VectorXd values;
  Eigen::MatrixXd vectors;
};

Ascending largest_eigenpairs(const Gram& gram, int64_t rank) {
  const auto n = static_cast<blasint>(gram.side), first = static_cast<blasint>(gram.side - rank + 1);
  Ascending pairs{Eigen::VectorXd(gram.side), Eigen::MatrixXd(gram.side, rank)};
  std::vector<double> matrix = gram.values;  // overwritten
  std::vector<blasint> support(2 * static_cast<size_t>(rank));
  const double unused = 0, tolerance = 0;
  blasint found = 0, info = 0, query = -1, iwork_size = 0;
  double work_size = 0;
  const char* range = rank == gram.side ? "A" : "I";
  const auto solve = [&](double* work, const blasint* lwork, blasint* iwork, const blasint* liwork) {
    dsyevr_("V", range, "U", &n, matrix.data(), &n, &unused, &unused, &first, &n, &tolerance, &found,
            pairs.values.data(), pairs.vectors.data(), &n, support.data(), work, lwork, iwork, liwork, &info,
            1, 1, 1);
  };
  solve(&work_size, &query, &iwork_size, &query);
  std::vector<double> work(static_cast<size_t>(work_size));
  std::vector<blasint> iwork(static_cast<size_t>(iwork_size));
  const auto lwork = static_cast<blasint>(work.size());
  solve(work.data(), &lwork, iwork.data(), &iwork_size);
  require(info == 0 && found == rank, "[leading_vectors] the eigenvectors of a ", n, " x ", n,
          " Gram matrix did not converge");
  return pairs;
}

/// out = op(a) b.
void product(CBLAS_TRANSPOSE op, const RowMajor& a, const RowMajor& b, RowMajor& out) {
  cblas_dgemm(CblasRowMajor, op, CblasNoTrans, static_cast<blasint>(out.rows()),
              static_cast<blasint>(out.cols()), static_cast<blasint>(b.rows()), 1, a.data(),
              static_cast<blasint>(a.cols()), b.data(), static_cast<blasint>(b.cols()), 0, out.data(),
              static_cast<blasint>(out.cols()));
}

/// The sign of a singular vector is arbitrary: one that does not depend on how it was computed.
void fix_signs(Basis& basis) {
  Eigen::Map<RowMajor> vectors(basis.vectors.data(), basis.size, basis.rank);
  for (Eigen::Index c = 0; c < vectors.cols(); ++c) {
    Eigen::Index largest = 0;
    vectors.col(c).cwiseAbs().maxCoeff(&largest);
    if (vectors(largest, c) < 0) vectors.col(c) *= -1;
  }
}

/// The basis that `image` (orthogonal columns of norm sqrt(energy), up to rounding) spans.
Basis orthonormal(RowMajor image, std::vector<double> energies) {
  const int64_t size = image.rows(), rank = image.cols();
  for (int64_t c = 0; c < rank; ++c) {
    if (energies[c] > 0) image.col(c) /= std::sqrt(energies[c]);
  }
  // Columns of small singular values have lost their orthogonality in the Gram matrix.
  RowMajor products(rank, rank);
  product(CblasTrans, image, image, products);
  if ((products - RowMajor::Identity(rank, rank)).cwiseAbs().maxCoeff() > 1e-10)
    image = Eigen::HouseholderQR<Eigen::MatrixXd>(image).householderQ() * RowMajor::Identity(size, rank);
  Basis basis{.size = size, .rank = rank, .energies = std::move(energies)};
  basis.vectors.assign(image.data(), image.data() + image.size());
  fix_signs(basis);
  return basis;
}

/// The directions of the one space that X or X' makes of those of the other.
Basis image(CBLAS_TRANSPOSE op, MatrixView x, Basis other) {
  const RowMajor matrix = Eigen::Map<const Floats>(x.data, x.rows, x.cols).cast<double>();
  const RowMajor from = Eigen::Map<const RowMajor>(other.vectors.data(), other.size, other.rank);
  RowMajor to(op == CblasTrans ? x.cols : x.rows, other.rank);
  product(op, matrix, from, to);
  return orthonormal(std::move(to), std::move(other.energies));
}

void check(MatrixView x, int64_t rank) {
  require(rank >= 1 && rank <= std::min(x.rows, x.cols), "[leading_vectors] got rank ", rank, " for a ",
          x.rows, " x ", x.cols, " matrix; expected 1 to ", std::min(x.rows, x.cols));
}

}  // namespace

Basis leading_eigenvectors(const Gram& gram, int64_t rank) {
  const Ascending pairs = largest_eigenpairs(gram, rank);
  Basis basis{.size = gram.side, .rank = rank};
  basis.vectors.resize(static_cast<size_t>(gram.side * rank));
  Eigen::Map<RowMajor>(basis.vectors.data(), gram.side, rank) = pairs.vectors.rowwise().reverse();
  const double rounding =
      static_cast<double>(gram.side) * std::numeric_limits<double>::epsilon() * pairs.values[rank - 1];
  for (int64_t i = rank - 1; i >= 0; --i) {
    const double energy = pairs.values[i];
    basis.energies.push_back(energy > rounding ? energy : 0);
  }
  fix_signs(basis);
  return basis;
}

Basis leading_left(MatrixView x, int64_t rank) {
  check(x, rank);
  Basis small = leading_eigenvectors(gram(x, {}), rank);
  return x.rows < x.cols ? small : image(CblasNoTrans, x, std::move(small));
}

Basis leading_right(MatrixView x, int64_t rank) {
  check(x, rank);
  Basis small = leading_eigenvectors(gram(x, {}), rank);
  return x.rows < x.cols ? image(CblasTrans, x, std::move(small)) : small;
}

}  // namespace kvviz::stats
