// SPDX-License-Identifier: MIT
#include "cli/running.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/io/result_file.hpp"

namespace kvviz::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* mark_name = "KVVIZ_TEST_MARK";

[[noreturn]] void become_kvviz(const std::vector<std::string>& arguments, const fs::path& folder,
                               const fs::path& streams, const std::function<void()>& prepare) {
  std::vector<char*> argv{const_cast<char*>(KVVIZ_EXECUTABLE)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int in = open("/dev/null", O_RDONLY);
  const int out = open((streams / "out").c_str(), O_WRONLY | O_CREAT, 0600),
            err = open((streams / "err").c_str(), O_WRONLY | O_CREAT, 0600);
  bool ready = in >= 0 && dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(err, 2) == 2;
  if (prepare) prepare();
  ready = ready && chdir(folder.c_str()) == 0;
  if (ready) execv(argv.front(), argv.data());
  _exit(127);
}

bool ends_with(const std::string& bytes, std::string_view end) {
  return bytes.substr(bytes.size() - std::min<size_t>(bytes.size(), 32)).find(end) != std::string::npos;
}

std::string fault_of(const fs::path& file, const std::string& bytes) {
  const std::string extension = file.extension();
  if (file.filename().string().starts_with(".")) return "is a temporary file";
  if (extension == ".png" && !ends_with(bytes, "IEND\xae\x42\x60\x82")) return "is half a picture";
  if (extension == ".svg" && !ends_with(bytes, "</svg>")) return "is half a picture";
  if (extension == ".pdf" && !ends_with(bytes, "%%EOF")) return "is half a picture";
  if (extension == ".json" && nlohmann::json::parse(bytes, nullptr, false).is_discarded())
    return "is no JSON";
  if (extension == ".csv" && !bytes.ends_with("\n")) return "is half a table";
  if (extension != ".h5") return "";
  try {
    if (file.filename() != "cache.h5") io::list_arrays(file);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

Running::Running(const std::vector<std::string>& arguments, const fs::path& folder,
                 const std::function<void()>& prepare)
    : mark_(streams_.path().filename()) {
  child_ = fork();
  if (child_ < 0) throw std::runtime_error("fork failed");
  if (child_ > 0) return;
  setenv(mark_name, mark_.c_str(), 1);
  become_kvviz(arguments, folder, streams_.path(), prepare);
}

Running::~Running() {
  if (ended()) return;
  kill(child_, SIGKILL);
  waitpid(child_, &status_, 0);
}

bool Running::ended() {
  if (!ended_) ended_ = waitpid(child_, &status_, WNOHANG) == child_;
  return ended_;
}

void Running::signal(int number) const {
  kill(child_, number);
}

Finished Running::wait(std::chrono::milliseconds most) {
  if (!eventually([this] { return ended(); }, most)) {
    FAIL_CHECK("kvviz still runs after ", most.count(), " ms: ", err());
    kill(child_, SIGKILL);
    waitpid(child_, &status_, 0);
    ended_ = true;
  }
  return {WIFEXITED(status_) ? WEXITSTATUS(status_) : 1000 + WTERMSIG(status_), out(), err()};
}

std::string Running::err() const {
  return fs::exists(streams_ / "err") ? read_file(streams_ / "err") : "";
}

std::string Running::out() const {
  return fs::exists(streams_ / "out") ? read_file(streams_ / "out") : "";
}

std::vector<pid_t> Running::descendants() const {
  std::vector<pid_t> found;
  for (const auto& process : fs::directory_iterator("/proc")) {
    const std::string name = process.path().filename();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc() || pid == child_)
      continue;
    std::ifstream in(process.path() / "environ", std::ios::binary);
    std::ostringstream environment;
    environment << in.rdbuf();
    if (environment.str().find(mark_name + ('=' + mark_)) != std::string::npos) found.push_back(pid);
  }
  return found;
}

bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds most) {
  for (const auto end = Clock::now() + most; !holds();
       std::this_thread::sleep_for(std::chrono::milliseconds(1)))
    if (Clock::now() > end) return false;
  return true;
}

std::vector<std::pair<std::string, std::string>> files_below(const fs::path& folder) {
  std::vector<std::pair<std::string, std::string>> files;
  std::error_code gone;  // while kvviz runs
  for (fs::recursive_directory_iterator at(folder, gone), end; !gone && at != end; at.increment(gone)) {
    std::ifstream in(at->path(), std::ios::binary);
    std::ostringstream bytes;
    if (!at->is_regular_file(gone) || !in || !(bytes << in.rdbuf() || in.eof())) continue;
    files.emplace_back(at->path().lexically_relative(folder).string(), std::move(bytes).str());
  }
  std::ranges::sort(files);
  return files;
}

std::string invalid_files(const fs::path& folder) {
  std::string faults;
  for (const auto& [name, bytes] : files_below(folder))
    if (const std::string fault = fault_of(folder / name, bytes); !fault.empty())
      faults += cat(name, ' ', fault, '\n');
  return faults;
}

}  // namespace kvviz::test
