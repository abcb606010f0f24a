// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::run_kvviz;
using test::TemporaryFolder;
using Words = std::vector<std::string>;

namespace {

struct Screen {
  int code = -1;
  std::string text;
};

/// Runs kvviz on a terminal of so many columns: stdout and stderr as they arrive there.
Screen on_terminal(Words arguments, int columns, const TemporaryFolder& folder) {
  arguments.insert(arguments.begin(), KVVIZ_EXECUTABLE);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  winsize size{.ws_row = 24, .ws_col = static_cast<unsigned short>(columns), .ws_xpixel = 0, .ws_ypixel = 0};
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
  REQUIRE(child >= 0);
  if (child == 0) {
    if (chdir(folder.path().c_str()) == 0) execv(argv.front(), argv.data());
    _exit(127);
  }
  Screen screen;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(terminal, buffer, sizeof buffer)) > 0;)
    screen.text.append(buffer, static_cast<size_t>(n));
  int status = 0;
  waitpid(child, &status, 0);
  close(terminal);
  screen.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return screen;
}

/// Characters of the longest line; continuation bytes of UTF-8 are none.
size_t widest(const std::string& text) {
  std::istringstream in(text);
  size_t most = 0;
  for (std::string line; std::getline(in, line);) {
    size_t cells = 0;
    for (const char c : line) cells += c != '\r' && (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    most = std::max(most, cells);
  }
  return most;
}

bool has_colour(const std::string& text) {
  for (size_t at = text.find("\033["); at != std::string::npos; at = text.find("\033[", at + 1)) {
    const size_t end = text.find_first_not_of("0123456789;", at + 2);
    if (end != std::string::npos && text[end] == 'm') return true;
  }
  return false;
}

}  // namespace

TEST_CASE("[terminal] help is as wide as the terminal; without one a line stays a line") {
  const TemporaryFolder folder;
  for (const Words& command :
       {Words{"--help"}, {}, {"simulate", "--help"}, {"models"}, {"models", "pull", "--help"}})
    for (const int columns : {40, 60, 100}) {
      CAPTURE(columns);
      const Screen screen = on_terminal(command, columns, folder);
      const bool no_command = command.empty() || command == Words{"models"};
      CHECK(screen.code == (no_command ? 2 : 0));
      CHECK(screen.text.size() > 100);
      CHECK(widest(screen.text) <= static_cast<size_t>(columns));
    }
  setenv("COLUMNS", "40", 1);
  CHECK(widest(run_kvviz({"--help"}, folder.path()).out) > 100);
  unsetenv("COLUMNS");
}

TEST_CASE("[terminal] broken help has every word of the whole one") {
  const TemporaryFolder folder;
  const auto words = [](const std::string& text) {
    std::string letters;
    for (const char c : text)
      if (!std::isspace(static_cast<unsigned char>(c))) letters += c;
    return letters;
  };
  CHECK(words(on_terminal({"simulate", "--help"}, 45, folder).text) ==
        words(run_kvviz({"simulate", "--help"}, folder.path()).out));
}

TEST_CASE("[terminal] tables fit, and nothing is coloured") {
  const TemporaryFolder folder;
  for (const Words& command :
       {Words{"list_samples"}, {"models", "info", "demo"}, {"profile", "--no-plots"}}) {
    const Screen screen = on_terminal(command, 80, folder);
    CAPTURE(command.front());
    CHECK(screen.code == 0);
    CHECK_FALSE(has_colour(screen.text));
    CHECK(widest(screen.text) <= 80);
  }
  CHECK_FALSE(has_colour(on_terminal({"analyse"}, 70, folder).text));
  CHECK_FALSE(has_colour(on_terminal({"analyze", "--help"}, 70, folder).text));
}

TEST_CASE("[terminal] --quiet leaves stderr empty") {
  const TemporaryFolder folder;
  write_file(folder / "prompts.txt",
             "Once upon a time there was a lighthouse.\n\nIt stood on a rock in the sea.\n");
  for (const Words& command :
       {Words{"analyze", "--seq-len", "64", "--no-plots"},
        {"sinks", "--prompts", "prompts.txt", "--metric", "share0", "--no-plots"},
        {"simulate", "--samples", "0", "--seq-len", "64", "--policies", "tova", "--no-plots"},
        {"compress", "--samples", "0", "--seq-len", "64", "--no-plots"},
        {"capture", "--seq-len", "32"}}) {
    CAPTURE(command.front());
    Words quiet = command;
    quiet.push_back("--quiet");
    const auto run = run_kvviz(quiet, folder.path());
    CHECK(run.code == 0);
    CHECK_MESSAGE(run.err.empty(), run.err);
  }
}
