// SPDX-License-Identifier: MIT
#include "kvviz/report/check.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/report/console.hpp"

namespace kvviz {
namespace {

bool any(std::span<const Check> checks, Verdict verdict) {
  return std::ranges::any_of(checks, [&](const Check& check) { return check.verdict == verdict; });
}

}  // namespace

int exit_code(std::span<const Check> checks) {
  if (any(checks, Verdict::no_name)) return 2;
  if (any(checks, Verdict::no_value)) return 1;
  return any(checks, Verdict::failed) ? 4 : 0;
}

std::string to_console(std::span<const Check> checks, int width) {
  if (checks.empty()) return "";
  const auto count = [&](Verdict verdict) { return std::ranges::count(checks, verdict, &Check::verdict); };
  const auto failed = count(Verdict::failed), undecided = count(Verdict::no_value) + count(Verdict::no_name);
  std::string text = cat("Checks: ", failed, " of ", checks.size(), " failed");
  if (undecided > 0) text += cat(", ", undecided, " could not be decided");
  text += '\n';
  for (const Check& check : checks) {
    const char* verdict = check.verdict == Verdict::passed   ? "passed   "
                          : check.verdict == Verdict::failed ? "FAILED   "
                                                             : "UNDECIDED";
    text += in_lines(cat("  ", verdict, "  ", check.message), width - 13, 13) + '\n';
  }
  return text;
}

std::string complaints(std::span<const Check> checks) {
  std::string text;
  for (const Check& check : checks)
    if (check.verdict == Verdict::failed)
      text += cat("kvviz: failed: ", check.message, '\n');
    else if (check.verdict != Verdict::passed)
      text += cat("kvviz: ", check.message, '\n');
  return text;
}

}  // namespace kvviz
