// SPDX-License-Identifier: MIT
#include "cli/fault_rows.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz::test {

void proved(const FaultRow& row, const std::source_location& where) {
  const std::string test = std::filesystem::path(where.file_name()).filename();
  const std::string line = cat("| ", row.fault, " | ", row.outcome, " | ", row.code, " | `", test, "` |\n");
  if (const char* file = std::getenv("KVVIZ_FAULT_TABLE")) {
    std::ofstream(file, std::ios::app) << line;
    return;
  }
  const std::string page = read_file(KVVIZ_SOURCES "/docs/reliability.md");
  CHECK_MESSAGE(page.find('\n' + line) != std::string::npos, "docs/reliability.md lacks ", line,
                "scripts/fault_table BUILD writes it");
}

}  // namespace kvviz::test

// The other way round: what the page says, a test has.
TEST_CASE("[fault table] every row of docs/reliability.md is one of a test") {
  namespace fs = std::filesystem;
  const std::string page = kvviz::read_file(KVVIZ_SOURCES "/docs/reliability.md");
  const std::string begin = "<!-- fault table: scripts/fault_table writes it -->\n", end = "<!-- end -->";
  const size_t first = page.find(begin), last = page.find(end);
  REQUIRE(first != std::string::npos);
  REQUIRE(last != std::string::npos);
  std::istringstream lines(page.substr(first + begin.size(), last - first - begin.size()));
  int rows = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| ") || line.starts_with("| fault |")) continue;
    CAPTURE(line);
    const size_t test = line.find(" | `");
    REQUIRE(test != std::string::npos);
    const fs::path source =
        fs::path(KVVIZ_SOURCES "/tests/cli") / line.substr(test + 4, line.rfind('`') - test - 4);
    REQUIRE(fs::exists(source));
    const std::string fault = line.substr(2, line.find(" | ", 2) - 2);
    CHECK(kvviz::read_file(source).find('"' + fault + '"') != std::string::npos);
    ++rows;
  }
  CHECK(rows >= 10);
}
