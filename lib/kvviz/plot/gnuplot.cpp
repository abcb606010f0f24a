// SPDX-License-Identifier: MIT
#include "kvviz/plot/gnuplot.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>
#include <string_view>
#include <vector>

#include "kvviz/core/child.hpp"
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

// In memory: no full disk, and no folder for temporary files, comes into it.
File nameless_file() {
  const int file = memfd_create("gnuplot", MFD_CLOEXEC);
  require(file >= 0, "cannot make a temporary file for gnuplot: ", errno_text);
  // A descriptor above those the child is given, and closed there: only the copies made for it remain.
  const int high = fcntl(file, F_DUPFD_CLOEXEC, kScript + 1);
  close(file);
  require(high >= 0, "cannot make a temporary file for gnuplot: ", errno_text);
  File moved(fdopen(high, "w+b"));
  require(moved != nullptr, "cannot make a temporary file for gnuplot: ", errno_text);
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

// As a program starts from a shell. In a group of its own: Ctrl-C in a terminal is for kvviz, which ends it.
class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none, pipe;
    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &pipe);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

std::vector<std::string> child_environment() {
  std::vector<std::string> variables{"LC_ALL=C.UTF-8", "TZ=UTC"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    if (!variable.starts_with("LC_") && !variable.starts_with("LANG") && !variable.starts_with("GNUTERM=") &&
        !variable.starts_with("TZ="))
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

bool is_installed(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "/bin:/usr/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::filesystem::path file = std::filesystem::path(folder) / program;
    std::error_code ignored;
    if (std::filesystem::is_regular_file(file, ignored) && access(file.c_str(), X_OK) == 0) return true;
  }
  return false;
}

GnuplotRun run_gnuplot(const std::string& program, const std::string& script,
                       const std::filesystem::path& output) {
  const File script_file = nameless_file(), message_file = nameless_file();
  require(std::fwrite(script.data(), 1, script.size(), script_file.get()) == script.size() &&
              std::fflush(script_file.get()) == 0,
          "cannot write the gnuplot script to a temporary file: ", errno_text);
  require(lseek(fileno(script_file.get()), 0, SEEK_SET) == 0,
          "cannot rewind the gnuplot script: ", errno_text);

  Actions actions;
  posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(actions.get(), STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   0666);
  posix_spawn_file_actions_adddup2(actions.get(), fileno(message_file.get()), STDERR_FILENO);
  posix_spawn_file_actions_adddup2(actions.get(), fileno(script_file.get()), kScript);

  // The script goes in as a named file: gnuplot reads its standard input byte by byte, ten times slower.
  std::vector<std::string> arguments{program, "-d", "/dev/fd/" + std::to_string(kScript)};
  std::vector<std::string> variables = child_environment();
  const Attributes attributes;
  const int status = status_of_child(
      [&](pid_t& child) {
        const int error = posix_spawnp(&child, program.c_str(), actions.get(), attributes.get(),
                                       pointers(arguments).data(), pointers(variables).data());
        require(error == 0, "cannot start ", program, ": ", std::strerror(error),
                "; figures are drawn by gnuplot: install gnuplot-nox");
      },
      "gnuplot");
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), messages_of(message_file.get())};
}

}  // namespace kvviz::plot
