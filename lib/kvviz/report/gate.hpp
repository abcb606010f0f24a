// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "kvviz/report/check.hpp"
#include "kvviz/report/result.hpp"

namespace kvviz {

enum class Comparison { greater, greater_equal, less, less_equal, equal, not_equal };

/// `--fail-if PATH OP NUMBER`: OP is > >= < <= == or !=, spaces around the parts do not matter. The last OP
/// of the text counts: keys in the path may hold spaces and any other character.
///
/// PATH names one number of a result:
///   sink_rate                       a fact of the summary
///   layers.k_hoyer.max              a column of a table, aggregated over its rows: min, max, mean or sum
///   layers.3.k_hoyer                a column of one row. A row is named by its key columns, joined by @:
///   h2o@0.25.delta_ppl              row (policy h2o, budget 0.25); the table's name may be left out when
///                                   only one table has such a row and column
///   compress.h2o:0.25 + q8_0.delta_ppl
///                                   the row whose key is "h2o:0.25 + q8_0"
///   heads.3.entropy.mean            fewer key values than key columns: all rows that begin so; an aggregate
///                                   is needed when there are several
/// Key values are compared as numbers in number columns (0.250 is 0.25), letter by letter in text columns.
struct Gate {
  std::string text;  ///< as given
  std::string path;
  Comparison comparison = Comparison::greater;
  double number = 0;
};

/// Needs no result, so it can run before any model is read. Throws UsageError: no operator, no path, not a
/// number.
Gate parse_gate(std::string_view text);

/// Needs no result either: throws UsageError, with the nearest of `names`, when the path is none of them and
/// the column that it must end with is none of them. `names` are all facts and columns that the command can
/// have; digits that stand for a number of the command line count as any (delta_ppl_0_25 is delta_ppl_0_1).
/// Rows and tables are not looked at: they depend on the run.
void require_known(const Gate& gate, std::span<const std::string> names);

struct GateOutcome {
  bool fired = false;
  double value = 0;     ///< what the path gave
  std::string where;    ///< of a min or max over several rows: the row, "3@keys"; else empty
  std::string message;  ///< "h2o@0.25.delta_ppl is 0.7312: --fail-if h2o@0.25.delta_ppl>0.5"
};

/// Throws UsageError: the path names nothing (lists the nearest names), several numbers without an aggregate,
/// or text. DataError: the number does not exist, for the reason the result states; a gate never passes by a
/// missing value.
GateOutcome check_gate(const Gate& gate, const Result& result);

/// The same as a check, named by the gate's text: errors become its verdict, with their message. Details:
/// got, bound and expression, a line each.
Check decide(const Gate& gate, const Result& result);

}  // namespace kvviz
