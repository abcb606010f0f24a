// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/report/result.hpp"

namespace kvviz {

/// The summaries of two results of one command side by side: "comparison", key: fact, with a, b and b - a
/// where both are numbers. `b - a` carries its standard error, sqrt(se_a^2 + se_b^2), where both results give
/// one (facts "x" and "x_se"): that of independent runs; on the same texts it is too large.
Table compare_summaries(const Result& a, const Result& b);

/// Rows of two tables that have the same key, in a's order: the key, then every number column of both twice,
/// "x_a" and "x_b". Rows of which the column "name" says that they are not of the same (another text under
/// one index) are left out, as are rows and columns that one table lacks. Its name is "comparison_" + theirs.
/// Without a common row the table is empty. Throws DataError when the keys differ in their columns.
Table compare_tables(const Table& a, const Table& b);

/// Throws DataError unless the results can be compared: the same command and, where they name one, the same
/// metric.
void require_comparable(const Result& a, const Result& b);

}  // namespace kvviz
