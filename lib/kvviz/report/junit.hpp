// SPDX-License-Identifier: MIT
#pragma once
#include <string>

#include "kvviz/report/check.hpp"

namespace kvviz {

/// The checks as JUnit XML, the form that CI servers read: one testsuite "kvviz COMMAND" in a testsuites,
/// with the report's properties; one testcase a check (classname "kvviz.COMMAND", name the check's own). What
/// failed has a failure, what could not be decided an error, each with the message and the details; what
/// passed has its message as system-out. Every time is 0 and there is no time stamp: equal runs give equal
/// bytes. Characters that XML 1.0 does not allow, and bytes that are not UTF-8, become U+FFFD.
std::string to_junit(const CheckReport& report);

/// The report of a run that has not ended yet: every check is an error. Written first, so that a run that
/// dies leaves no earlier report that says that all is well.
std::string unfinished_junit(CheckReport report);

}  // namespace kvviz
