// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <fstream>
#include <iterator>

#include "kvviz/policy/policy.hpp"

using namespace kvviz;

TEST_CASE("[policy] docs/policies.md has a row with the citation of every policy") {
  std::ifstream file(KVVIZ_FIXTURES "/../../docs/policies.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  REQUIRE(!page.empty());
  size_t last = 0;
  for (const policy::PolicyInfo& info : policy::policies()) {
    const std::string name(info.name);
    CAPTURE(name);
    const size_t row = page.find("\n| `" + name + "`");
    REQUIRE(row != std::string::npos);
    CHECK(row > last);  // in the order of the table
    last = row;
    const size_t arxiv = info.citation.find("arXiv ");
    if (arxiv == std::string_view::npos) continue;
    CHECK(page.find(info.citation.substr(arxiv, 16)) != std::string::npos);
  }
}
