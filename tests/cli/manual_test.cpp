// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdlib>
#include <sstream>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::run_kvviz;
using test::TemporaryFolder;

namespace {

using Words = std::vector<std::string>;

Words lines_of(const std::string& text) {
  Words lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// The command and all commands below it, as words.
std::vector<Words> commands(const Words& from = {}) {
  const TemporaryFolder folder;
  std::vector<Words> found{from};
  Words arguments = from;
  arguments.insert(arguments.begin(), "--complete");
  arguments.emplace_back();
  for (const std::string& line : lines_of(run_kvviz(arguments, folder.path()).out)) {
    if (line.starts_with('-') || line.starts_with(':') || line.find('\t') == std::string::npos) continue;
    Words below = from;
    below.push_back(line.substr(0, line.find('\t')));
    for (Words& command : commands(below)) found.push_back(std::move(command));
  }
  return found;
}

std::string page_of(Words command) {
  const TemporaryFolder folder;
  command.push_back("--man");
  const auto run = run_kvviz(command, folder.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  return run.out;
}

/// All long names in the help, as roff spells them.
Words options_in_help(Words command) {
  const TemporaryFolder folder;
  command.push_back("--help");
  Words names;
  for (const std::string& line : lines_of(run_kvviz(command, folder.path()).out)) {
    if (!line.starts_with("  -")) continue;
    std::istringstream list(line.substr(2, line.find(' ', 2) - 2));
    for (std::string name; std::getline(list, name, ',');) {
      std::string roff;
      for (const char c : name) roff += c == '-' ? "\\-" : std::string(1, c);
      names.push_back(roff);
    }
  }
  return names;
}

}  // namespace

TEST_CASE("[manual] every command has a page with all options of its help") {
  const auto all = commands();
  REQUIRE(all.size() > 15);
  for (const Words& command : all) {
    std::string name = "kvviz";
    for (const std::string& word : command) name += "\\-" + word;
    CAPTURE(name);
    const std::string page = page_of(command);
    CHECK(page.starts_with(".TH "));
    CHECK(page.find(".SH NAME\n" + name + " \\- ") != std::string::npos);
    for (const char* section :
         {".SH SYNOPSIS\n", ".SH OPTIONS\n", ".SH \"EXIT STATUS\"\n", ".SH \"SEE ALSO\"\n"})
      CHECK_MESSAGE(page.find(section) != std::string::npos, section);
    for (const std::string& option : options_in_help(command))
      CHECK_MESSAGE(page.find("\\fB" + option + "\\fR") != std::string::npos, option);
  }
}

TEST_CASE("[manual] pages say what an option takes, which names, and its default") {
  const std::string page = page_of({"analyze"});
  CHECK(page.find("\\fB\\-\\-bos\\fR \\fITEXT\\fR\n") != std::string::npos);
  CHECK(page.find("One of auto, on, off.\nDefault: auto\n") != std::string::npos);
  CHECK(page.find("\\fB\\-\\-prompt\\-file\\fR \\fIFILE\\fR\n") != std::string::npos);
  CHECK(page_of({"compare"}).find("\\fIresults\\fR...\n") != std::string::npos);
  CHECK(page_of({}).find("kvviz\\-analyze_similarity\\fR(1)") != std::string::npos);
  CHECK(page_of({}).find(".SH ENVIRONMENT\n") != std::string::npos);
}

TEST_CASE("[manual] groff formats every page without a warning") {
  if (std::system("command -v groff > /dev/null") != 0) {
    MESSAGE("groff is not installed: the pages were not formatted");
    return;
  }
  const TemporaryFolder folder;
  for (const Words& command : commands()) {
    write_file(folder / "page", page_of(command));
    const std::string call =
        "cd '" + folder.path().string() + "' && groff -man -Tascii -ww page > out 2> err";
    CHECK(std::system(call.c_str()) == 0);
    CHECK_MESSAGE(read_file(folder / "err").empty(), read_file(folder / "err"));
  }
}
