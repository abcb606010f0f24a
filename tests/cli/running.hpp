// SPDX-License-Identifier: MIT
#pragma once
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cli/process.hpp"
#include "support/temporary_folder.hpp"

namespace kvviz::test {

/// The kvviz under test while it runs, in `folder`. `prepare` is called in the child before it becomes kvviz:
/// limits, variables, ignored signals. What still runs is killed at the end.
class Running {
 public:
  Running(const std::vector<std::string>& arguments, const std::filesystem::path& folder,
          const std::function<void()>& prepare = {});
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  pid_t pid() const { return child_; }
  bool ended();
  void signal(int number) const;
  /// Waits for its end; one that has not come after `most` is a failure of the test, and kills it.
  Finished wait(std::chrono::milliseconds most = std::chrono::minutes(2));
  std::string err() const;  ///< what stderr holds by now
  std::string out() const;
  /// Processes that it started, by a variable that only they have.
  std::vector<pid_t> descendants() const;

 private:
  TemporaryFolder streams_;
  std::string mark_;
  pid_t child_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

/// Waits until `holds`, asking every millisecond or so. False: it did not within `most`.
bool eventually(const std::function<bool()>& holds,
                std::chrono::milliseconds most = std::chrono::seconds(20));

/// Regular files below `folder`, relative to it, with their bytes.
std::vector<std::pair<std::string, std::string>> files_below(const std::filesystem::path& folder);

/// What is wrong with the files that kvviz left below `folder`: temporary ones, half pictures, JSON and HDF5
/// that nothing reads. Empty: nothing.
std::string invalid_files(const std::filesystem::path& folder);

}  // namespace kvviz::test
