// SPDX-License-Identifier: MIT
#include "kvviz/plot/gnuplot.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "kvviz/core/error.hpp"

extern char** environ;

namespace kvviz::plot {
namespace {

constexpr int kScript = 3;  // descriptor of the script in the child
constexpr size_t kMostMessages = 2000;

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

File nameless_file() {
  File file(std::tmpfile());
  require(file != nullptr, "cannot make a temporary file for gnuplot: ", std::strerror(errno));
  // Descriptors above those the child is given, and closed there: only the copies made for it remain.
  const int high = fcntl(fileno(file.get()), F_DUPFD_CLOEXEC, kScript + 1);
  require(high >= 0, "cannot make a temporary file for gnuplot: ", std::strerror(errno));
  File moved(fdopen(high, "w+b"));
  require(moved != nullptr, "cannot make a temporary file for gnuplot: ", std::strerror(errno));
  return moved;
}

class Actions {
 public:
  Actions() { posix_spawn_file_actions_init(&actions_); }
  ~Actions() { posix_spawn_file_actions_destroy(&actions_); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

std::vector<std::string> child_environment() {
  std::vector<std::string> variables{"LC_ALL=C.UTF-8"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    if (!variable.starts_with("LC_") && !variable.starts_with("LANG") && !variable.starts_with("GNUTERM="))
      variables.emplace_back(variable);
  }
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

std::string messages_of(std::FILE* file) {
  std::string text(kMostMessages, '\0');
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  while (!text.empty() && std::strchr(" \n\r\t", text.back()) != nullptr) text.pop_back();
  return text;
}

}  // namespace

GnuplotRun run_gnuplot(const std::string& program, const std::string& script,
                       const std::filesystem::path& output) {
  const File script_file = nameless_file(), message_file = nameless_file();
  require(std::fwrite(script.data(), 1, script.size(), script_file.get()) == script.size() &&
              std::fflush(script_file.get()) == 0,
          "cannot write the gnuplot script to a temporary file: ", std::strerror(errno));
  require(lseek(fileno(script_file.get()), 0, SEEK_SET) == 0,
          "cannot rewind the gnuplot script: ", std::strerror(errno));

  Actions actions;
  posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(actions.get(), STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   0666);
  posix_spawn_file_actions_adddup2(actions.get(), fileno(message_file.get()), STDERR_FILENO);
  posix_spawn_file_actions_adddup2(actions.get(), fileno(script_file.get()), kScript);

  // The script goes in as a named file: gnuplot reads its standard input byte by byte, ten times slower.
  std::vector<std::string> arguments{program, "-d", "/dev/fd/" + std::to_string(kScript)};
  std::vector<std::string> variables = child_environment();
  pid_t child = 0;
  const int error = posix_spawnp(&child, program.c_str(), actions.get(), nullptr, pointers(arguments).data(),
                                 pointers(variables).data());
  require(error == 0, "cannot start ", program, ": ", std::strerror(error),
          "; figures are drawn by gnuplot: install gnuplot-nox");
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    require(errno == EINTR, "lost the gnuplot process: ", std::strerror(errno));
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), messages_of(message_file.get())};
}

}  // namespace kvviz::plot
