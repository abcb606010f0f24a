// SPDX-License-Identifier: MIT
#pragma once
#include <source_location>
#include <string>

namespace kvviz::test {

/// A row of the table of faults in docs/reliability.md. The test that injects the fault, one with "[faults]"
/// in its name, gives it after its own checks: the table says what tests have shown. It must stand in the
/// page as it is; `scripts/fault_table BUILD` puts it there.
struct FaultRow {
  std::string fault;    ///< what goes wrong
  std::string outcome;  ///< what kvviz does
  std::string code;     ///< the exit code, or several
};

/// Fails the test when the page lacks the row. With KVVIZ_FAULT_TABLE=FILE it is appended to FILE instead.
void proved(const FaultRow& row, const std::source_location& where = std::source_location::current());

}  // namespace kvviz::test
