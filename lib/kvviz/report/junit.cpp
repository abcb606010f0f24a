// SPDX-License-Identifier: MIT
#include "kvviz/report/junit.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <string_view>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

// Char of XML 1.0, section 2.2. utf8proc refuses surrogates.
bool allowed(utf8proc_int32_t code) {
  return code == '\t' || code == '\n' || code == '\r' || (code >= 0x20 && code != 0xFFFE && code != 0xFFFF);
}

// Text for an attribute or between tags. Tabs and line ends are spelt out: a parser turns those of an
// attribute into spaces.
std::string escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    utf8proc_int32_t code = 0;
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    const auto used = utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size()), &code);
    const size_t length = used > 0 ? static_cast<size_t>(used) : 1;
    const std::string_view character = text.substr(0, length);
    text.remove_prefix(length);
    if (used <= 0 || !allowed(code))
      out += "\xEF\xBF\xBD";
    else if (code == '&')
      out += "&amp;";
    else if (code == '<')
      out += "&lt;";
    else if (code == '>')
      out += "&gt;";
    else if (code == '"')
      out += "&quot;";
    else if (code == '\t' || code == '\n' || code == '\r')
      out += cat("&#", code, ';');
    else
      out += character;
  }
  return out;
}

std::string counts(std::span<const Check> checks) {
  const auto count = [&](auto... verdicts) {
    return (std::ranges::count(checks, verdicts, &Check::verdict) + ...);
  };
  return cat("tests=\"", checks.size(), "\" failures=\"", count(Verdict::failed), "\" errors=\"",
             count(Verdict::no_value, Verdict::no_name), "\" skipped=\"0\" time=\"0\"");
}

std::string outcome(const Check& check) {
  if (check.verdict == Verdict::passed)
    return cat("      <system-out>", escaped(check.message), "</system-out>\n");
  const bool failed = check.verdict == Verdict::failed;
  const char* tag = failed ? "failure" : "error";
  const char* type = failed ? "failed" : check.verdict == Verdict::no_value ? "no value" : "no such name";
  return cat("      <", tag, " message=\"", escaped(check.message), "\" type=\"", type, "\">",
             escaped(check.details), "</", tag, ">\n");
}

}  // namespace

std::string to_junit(const CheckReport& report) {
  const std::string numbers = counts(report.checks), command = escaped(report.command);
  std::string xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  xml += cat("<testsuites name=\"kvviz\" ", numbers, ">\n");
  xml += cat("  <testsuite name=\"kvviz ", command, "\" ", numbers, ">\n    <properties>\n");
  for (const auto& [name, value] : report.properties)
    xml += cat("      <property name=\"", escaped(name), "\" value=\"", escaped(value), "\"/>\n");
  xml += "    </properties>\n";
  for (const Check& check : report.checks)
    xml += cat("    <testcase classname=\"kvviz.", command, "\" name=\"", escaped(check.name),
               "\" time=\"0\">\n", outcome(check), "    </testcase>\n");
  return xml + "  </testsuite>\n</testsuites>\n";
}

std::string unfinished_junit(CheckReport report) {
  for (Check& check : report.checks)
    check = {.name = check.name,
             .verdict = Verdict::no_value,
             .message = "the run did not reach its end; what it printed says why"};
  return to_junit(report);
}

}  // namespace kvviz
