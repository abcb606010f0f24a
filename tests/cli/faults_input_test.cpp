// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <thread>

#include "cli/fault_rows.hpp"
#include "cli/running.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/model/checkpoint.hpp"
#include "kvviz/model/safetensors.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using namespace std::chrono_literals;
using test::eventually;
using test::Finished;
using test::holds;
using test::Running;
using test::TemporaryFolder;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

namespace {

// Sets the time of the file's last change again and again, as a program does that writes to it, until kvviz
// ends. So it changes between its reading and the end, whenever that is.
Finished run_while_written_to(const Words& command, const fs::path& folder, const fs::path& file) {
  Running run(command, folder);
  while (!run.ended()) {
    utimensat(AT_FDCWD, file.c_str(), nullptr, 0);
    std::this_thread::sleep_for(5ms);
  }
  return run.wait();
}

void check_noticed(const Finished& done, const std::string& file, const fs::path& out) {
  CHECK_MESSAGE(done.code == 1, done.err);
  CHECK_MESSAGE(holds(done.err, file + " changed while it was read: "), done.err);
  CHECK(test::files_below(out).empty());
}

// With weights in f32, which are used where they are mapped, as long as the run lasts.
fs::path copied_model(const TemporaryFolder& folder) {
  fs::copy(fs::path(KVVIZ_DATA) / "models/demo", folder / "model");
  const fs::path file = folder / "model/model.safetensors";
  std::map<std::string, at::Tensor> tensors;
  {
    const Checkpoint checkpoint = Checkpoint::open(folder / "model");
    for (const auto& [name, stored] : checkpoint.tensors()) tensors[name] = widened(stored);
  }
  write_safetensors(file, tensors, {});
  return file;
}

bool has_mapped(const Running& run, const std::string& file) {
  return holds(read_file(cat("/proc/", run.pid(), "/maps")), file);
}

}  // namespace

TEST_CASE("[faults] weights that change during a run are noticed") {
  const TemporaryFolder folder;
  const fs::path weights = copied_model(folder);
  check_noticed(run_while_written_to({"analyze", "--model", "model", "--seq-len", "128", "--out", "out"},
                                     folder.path(), weights),
                "model/model.safetensors", folder / "out");
  check_noticed(run_while_written_to({"capture", "--model", "model", "--seq-len", "128", "--out", "out"},
                                     folder.path(), weights),
                "model/model.safetensors", folder / "out");
  test::proved(
      {"weights that are written to while they are used", "no result; an error that names the file", "1"});
}

TEST_CASE("[faults] weights that are cut short during a run are an error, not a crash") {
  const TemporaryFolder folder;
  const fs::path weights = copied_model(folder);
  Running run({"simulate", "--model", "model", "--samples", "0", "--seq-len", "512", "--out", "out"},
              folder.path());
  REQUIRE(eventually([&] { return has_mapped(run, "model.safetensors"); }));
  fs::resize_file(weights, 4096);
  check_noticed(run.wait(), "model/model.safetensors", folder / "out");
  test::proved(
      {"weights that are cut short while they are mapped", "an error that names the file, no crash", "1"});
}

TEST_CASE("[faults] weights that are replaced during a run are noticed") {
  const TemporaryFolder folder;
  const fs::path weights = copied_model(folder);
  Running run({"analyze", "--model", "model", "--seq-len", "128", "--out", "out"}, folder.path());
  REQUIRE(eventually([&] { return has_mapped(run, "model.safetensors"); }));
  write_file(weights, "another file");
  check_noticed(run.wait(), "model/model.safetensors", folder / "out");
}

TEST_CASE("[faults] texts and cache files that change during a run are noticed") {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 40; ++i) text += "Once upon a time there was a lighthouse on a rock in the sea. ";
  write_file(folder / "text.txt", text);
  write_file(folder / "prompts.txt", text + '\n' + text + '\n');
  check_noticed(run_while_written_to({"analyze", "--prompt-file", "text.txt", "--out", "out"}, folder.path(),
                                     folder / "text.txt"),
                "text.txt", folder / "out");
  const Finished batch = run_while_written_to({"sinks", "--prompts", "prompts.txt", "--out", "out"},
                                              folder.path(), folder / "prompts.txt");
  CHECK_MESSAGE(batch.code == 1, batch.err);
  CHECK_MESSAGE(holds(batch.err, "prompts.txt changed while it was read: "), batch.err);
  CHECK_FALSE(fs::exists(folder / "out/results/sinks.json"));
  fs::remove_all(folder / "out");
  const Finished captured = Running({"capture", "--seq-len", "256"}, folder.path()).wait();
  REQUIRE_MESSAGE(captured.code == 0, captured.err);
  check_noticed(run_while_written_to({"analyze", "--cache", "caches/cache.h5", "--out", "out"}, folder.path(),
                                     folder / "caches/cache.h5"),
                "caches/cache.h5", folder / "out");
  test::proved({"a text or a cache file that is written to during the run",
                "no result; an error that names the file", "1"});
}

TEST_CASE("[faults] a text from a pipe has no identity to keep") {
  const TemporaryFolder folder;
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  Running run({"analyze", "--prompt-file", "pipe", "--no-plots"}, folder.path());
  int pipe = -1;  // it can be opened once kvviz reads
  REQUIRE(eventually([&] {
    pipe = open((folder / "pipe").c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return pipe >= 0;
  }));
  const std::string text = "Once upon a time there was a lighthouse.";
  CHECK(write(pipe, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  close(pipe);
  const Finished done = run.wait(20s);
  CHECK_MESSAGE(done.code == 0, done.err);
}
