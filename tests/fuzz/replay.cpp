// SPDX-License-Identifier: MIT
// Runs a fuzz target over the files of folders, and over so many changes of each: what any compiler can do in
// a test. `x_fuzz CHANGES FOLDER ...`; `x_fuzz --change K FILE` writes the change K of a file to stdout.
// Every input has to end as the target declares, within seconds and a bound of memory. Anything else, a crash
// and a sanitizer's report included, ends the program with the name of the input, which is left in
// x_fuzz.finding.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#ifdef KVVIZ_SANITIZED
#include <sanitizer/common_interface_defs.h>
#endif

#include "changes.hpp"
#include "fuzz_target.hpp"
#include "kvviz/core/atomic_file.hpp"

namespace {

namespace fs = std::filesystem;
using kvviz::read_file;
using kvviz::test::Outcomes;
using kvviz::test::outcomes;

constexpr int64_t least_changes = 1000;          // of a format
constexpr time_t most_seconds = 5;               // of processor time for an input
constexpr rlim_t most_memory = rlim_t{1} << 30;  // beyond what the program has at its start

// The input that is being read, for the last words of a crash: a signal handler may not make them.
struct Current {
  char words[512], finding[128];
  const char* bytes = nullptr;
  size_t size = 0;
};
Current current;  // NOLINT: a signal handler takes no argument

void last_words() {
  ssize_t ignored = write(STDERR_FILENO, current.words, std::strlen(current.words));
  const int file = open(current.finding, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0) ignored = write(file, current.bytes, current.size);
  static_cast<void>(ignored);
}

const pid_t program = getpid();

void on_signal(int signal) {
  if (getpid() != program) {  // a child in which HDF5 is tried
    std::signal(signal, SIG_DFL);
    std::raise(signal);
    return;
  }
  if (signal == SIGPROF) {
    constexpr std::string_view text = "\nthe reader works longer than any input needs";
    static_cast<void>(!write(STDERR_FILENO, text.data(), text.size()));
  }
  last_words();
  _exit(1);
}

void watch(const char* name) {
  std::snprintf(current.finding, sizeof current.finding, "%s.finding", fs::path(name).filename().c_str());
  std::signal(SIGPROF, on_signal);
  std::signal(SIGABRT, on_signal);
#ifdef KVVIZ_SANITIZED  // which reports the other signals, and maps more memory than it uses
  __sanitizer_set_death_callback(last_words);
#else
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, on_signal);
  FILE* const status = std::fopen("/proc/self/statm", "r");
  rlim_t pages = 0;
  if (status != nullptr && std::fscanf(status, "%lu", &pages) == 1) {
    const rlim_t bytes = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + most_memory;
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_AS, &limit);
  }
  if (status != nullptr) std::fclose(status);
#endif
}

// In memory of exactly its size, so that a sanitizer sees a read past its end.
void run(const std::string& bytes, const fs::path& file, int64_t change) {
  const auto exact = std::make_unique<uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), exact.get());
  std::snprintf(current.words, sizeof current.words, "\nwhile reading change %lld of %s\n",
                static_cast<long long>(change), file.c_str());
  current.bytes = reinterpret_cast<const char*>(exact.get());
  current.size = bytes.size();
  const itimerval time{{0, 0}, {KVVIZ_SLOWNESS * most_seconds, 0}};
  setitimer(ITIMER_PROF, &time, nullptr);
  LLVMFuzzerTestOneInput(exact.get(), bytes.size());
}

std::vector<fs::path> files_of(int count, char** folders) {
  std::vector<fs::path> files;
  for (int i = 2; i < count; ++i)
    for (const auto& entry : fs::directory_iterator(folders[i]))
      if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// A change does not depend on which other files there are.
std::string change_of(const std::string& bytes, int64_t change) {
  uint64_t seed = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : bytes) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return kvviz::test::changed(bytes, seed + static_cast<uint64_t>(change));
}

// As the table of docs/reliability.md names it; scripts/fault_table adds up the lines below it.
constexpr const char* fault = "input files with changed bytes, 1,000 variants or more of each format";

int fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  return 1;
}

int replay(const std::vector<fs::path>& files, int64_t changes_of_each) {
  for (const fs::path& file : files) run(read_file(file), file, 0);
  const Outcomes whole = outcomes();
  for (const fs::path& file : files) {
    const std::string bytes = read_file(file);
    for (int64_t i = 1; i <= changes_of_each; ++i) run(change_of(bytes, i), file, i);
  }
  const Outcomes& all = outcomes();
  const int64_t changes = std::ssize(files) * changes_of_each;
  std::printf("%s\n%zu files, %lld read and %lld refused; %lld changes of them, %lld read and %lld refused\n",
              fault, files.size(), static_cast<long long>(whole.read), static_cast<long long>(whole.refused),
              static_cast<long long>(changes), static_cast<long long>(all.read - whole.read),
              static_cast<long long>(all.refused - whole.refused));
  if (whole.read == 0) return fail("no file of the corpus can be read: the changes show nothing");
  if (all.refused == 0) return fail("nothing was refused");
  if (changes < least_changes) return fail("fewer than 1000 changes");
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 4 && std::string_view(arguments[1]) == "--change") {
    const std::string bytes = change_of(read_file(arguments[3]), std::atoll(arguments[2]));
    return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() ? 0 : 1;
  }
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);  // files that a disk need not see
  if (count < 3) return fail("usage: x_fuzz CHANGES FOLDER ..., x_fuzz --change K FILE");
  watch(arguments[0]);
  return replay(files_of(count, arguments), std::atoll(arguments[1]));
}
