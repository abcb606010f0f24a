// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvviz {

enum class Verdict {
  passed,
  failed,    ///< a gate fired, a number moved more than tolerated
  no_value,  ///< cannot be decided: the value does not exist
  no_name    ///< cannot be decided: names nothing, or several numbers
};

/// One thing that a run was asked to check of its result: a gate, or a part of a comparison.
struct Check {
  std::string name;  ///< as given: "h2o@0.25.delta_ppl>0.5"
  Verdict verdict = Verdict::passed;
  std::string message;       ///< one line: what was found
  std::string details = "";  ///< further lines for a report, without a "\n" at the end; may be empty
};

/// The checks of one run, and what they are about.
struct CheckReport {
  std::string command;  ///< "compress"
  std::vector<Check> checks;
  /// Model, text, version, ...: name and value, in the order of the report.
  std::vector<std::pair<std::string, std::string>> properties;
};

/// The exit code of a run with these checks: 2 when one names nothing, else 1 when one has no value, else 4
/// when one failed, else 0. What could not be decided never passes.
int exit_code(std::span<const Check> checks);

/// "Checks: 1 of 3 failed" and a line each, in order, for stdout. Empty without a check.
std::string to_console(std::span<const Check> checks, int width = 100);

/// A line for stderr for each check that did not pass: "kvviz: failed: MESSAGE".
std::string complaints(std::span<const Check> checks);

}  // namespace kvviz
