// SPDX-License-Identifier: MIT
#include "cli/process.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/file_identity.hpp"
#include "support/temporary_folder.hpp"

namespace kvviz::test {
namespace {

[[noreturn]] void become(const std::vector<std::string>& arguments, const std::filesystem::path& folder,
                         const std::filesystem::path& out, const std::filesystem::path& err) {
  std::vector<char*> argv{const_cast<char*>(KVVIZ_EXECUTABLE)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int in = open("/dev/null", O_RDONLY);
  const int to_out = open(out.c_str(), O_WRONLY | O_CREAT, 0600),
            to_err = open(err.c_str(), O_WRONLY | O_CREAT, 0600);
  const bool ready = in >= 0 && dup2(in, 0) == 0 && dup2(to_out, 1) == 1 && dup2(to_err, 2) == 2 &&
                     chdir(folder.c_str()) == 0;
  if (ready) execv(argv.front(), argv.data());
  _exit(127);
}

}  // namespace

Finished run_kvviz(const std::vector<std::string>& arguments, const std::filesystem::path& folder) {
  forget_inputs();  // what the test has read so far may be written anew
  const TemporaryFolder streams;
  const auto out = streams.path() / "out", err = streams.path() / "err";
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) become(arguments, folder, out, err);
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(out), read_file(err)};
}

}  // namespace kvviz::test
