// SPDX-License-Identifier: MIT
#include "kvviz/core/child.hpp"

#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "kvviz/core/error.hpp"
#include "kvviz/core/interrupt.hpp"

namespace kvviz {

int status_of_child(const std::function<void(pid_t& child)>& start, std::string_view what) {
  pid_t child = 0;
  std::optional<AtInterrupt> killed;
  {
    const Uninterrupted now;
    start(child);
    killed.emplace([child] { kill(child, SIGKILL); });
  }
  // Its number stays its own until it is reaped, and then nobody may kill it any more.
  siginfo_t ended{};
  while (waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) < 0)
    require(errno == EINTR, "lost ", what, ": ", errno_text);
  const Uninterrupted now;
  int status = 0;
  require(waitpid(child, &status, 0) == child, "lost ", what, ": ", errno_text);
  killed.reset();
  return status;
}

}  // namespace kvviz
