// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "cli/fault_rows.hpp"
#include "cli/running.hpp"
#include "cli/small_disk.hpp"
#include "kvviz/core/error.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using test::Finished;
using test::holds;
using test::Running;
using test::SmallDisk;
using test::TemporaryFolder;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

namespace {

struct Writer {
  Words command;
  rlim_t bytes;      ///< no file may become larger: the first that would is `file`
  const char* file;  ///< that the error names; empty: any of them
};

// Every kind of file that kvviz writes. A limit on the size of files fails a write as a full disk does, with
// another errno, and needs no rights: it works on every machine.
const Writer writers[] = {
    {{"profile"}, 16 << 10, ".png: File too large"},
    {{"profile", "--format", "svg"}, 16 << 10, ".svg: File too large"},
    {{"profile", "--format", "pdf"}, 16 << 10, ".pdf: File too large"},
    {{"sinks", "--samples", "0", "--no-plots"}, 4 << 10, "out/results/sinks.h5: "},
    {{"profile", "--no-plots", "--csv"}, 8 << 10, "out/results/profile.json: File too large"},
    {{"profile", "--no-plots", "--fail-if", "layers>99", "--junit", "out/report.xml"},
     100,
     "out/report.xml: "},
    {{"capture", "--seq-len", "64"}, 8 << 10, "out/caches/cache.h5: "},
    {{"capture", "--queries", "--seq-len", "64"}, 40 << 10, "out/caches/cache.h5: "},
};

}  // namespace

TEST_CASE("[faults] a file that cannot be written to its end is named, and what was there stays") {
  for (const Writer& writer : writers) {
    CAPTURE(writer.file);
    const TemporaryFolder folder;
    Words command = writer.command;
    command.insert(command.end(), {"--out", "out"});
    const Finished first = Running(command, folder.path()).wait();
    REQUIRE_MESSAGE((first.code == 0 || first.code == 4), first.err);
    const auto before = test::files_below(folder.path());
    const auto limit = [&] {
      const rlimit most{.rlim_cur = writer.bytes, .rlim_max = writer.bytes};
      setrlimit(RLIMIT_FSIZE, &most);
    };
    // stdout and stderr are files, too.
    const Finished done = Running(command, folder.path(), limit).wait();
    CHECK_MESSAGE(done.code == 1, done.err);
    CHECK_MESSAGE(holds(done.err, writer.file), done.err);
    CHECK_MESSAGE(holds(done.err, "File too large"), done.err);
    CHECK(test::files_below(folder.path()) == before);
  }
  test::proved({"a file larger than `ulimit -f` allows, of every kind that kvviz writes",
                "an error that names the file and the reason; the earlier file stays as it was", "1"});
}

TEST_CASE("[faults] a full disk is named, and what was there stays") {
  SmallDisk disk(int64_t{16} << 20);
  if (!disk.available()) {
    // A machine that gives users no namespaces: the test above has the same code paths.
    MESSAGE("no small disk could be mounted here (user namespaces are off)");
    return;
  }
  const fs::path there = disk.seen_from_there(), here = disk.seen_from_here();
  const Words command{"analyze", "--seq-len", "64",    "--focus",
                      "layers",  "--csv",     "--out", (there / "out").string()};
  const auto enter = [&] { disk.enter(); };
  const TemporaryFolder folder;
  const Finished first = Running(command, folder.path(), enter).wait();
  REQUIRE_MESSAGE(first.code == 0, first.err);
  const auto before = test::files_below(here / "out");
  std::vector<std::string> refused;
  for (const int64_t left : {0, 100'000, 1'000'000, 2'000'000}) {
    CAPTURE(left);
    disk.leave(left);
    const Finished done = Running(command, folder.path(), enter).wait();
    if (done.code == 0) continue;
    CHECK_MESSAGE(done.code == 1, done.err);
    CHECK_MESSAGE(holds(done.err, "No space left on device"), done.err);
    CHECK_MESSAGE(holds(done.err, (there / "out").string()), done.err);
    CHECK(test::invalid_files(here / "out").empty());
    CHECK(test::files_below(here / "out") == before);  // equal runs: what is replaced is replaced by the same
    refused.push_back(done.err);
  }
  CHECK(refused.size() >= 2);
  test::proved({"a full disk", "an error that names the file; the earlier files stay as they were", "1"});
}

TEST_CASE("[faults] stdout on a full disk") {
  const TemporaryFolder folder;
  const auto full = [] { dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO); };
  for (const Words& command :
       {Words{"list_samples"}, Words{"profile", "--no-plots", "--json", "-"}, Words{"--help"}}) {
    CAPTURE(command.front());
    const Finished done = Running(command, folder.path(), full).wait();
    CHECK(done.code == 1);
    CHECK_MESSAGE(done.err == "kvviz: cannot write to stdout: No space left on device\n", done.err);
  }
  test::proved({"stdout goes to a full disk", "an error that says so, after the files are written", "1"});
}

TEST_CASE("[faults] a folder that cannot be written is refused before the model is read") {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "text";
  fs::create_directory(folder / "closed");
  fs::permissions(folder / "closed", fs::perms::owner_read | fs::perms::owner_exec);
  SmallDisk disk(1 << 20);
  std::vector<fs::path> places{folder / "file", folder / "file/below", folder / "closed",
                               folder / "closed/new/one"};
  if (disk.available()) {
    disk.make_read_only();
    places.push_back(disk.seen_from_there() / "new");
  }
  const auto as_a_user = [&] {
    if (disk.available()) disk.enter();
    prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);  // of root: permissions hold for it, too
  };
  std::vector<Words> runs;
  for (const fs::path& out : places) runs.push_back({"analyze", "--out", out.string()});
  for (const char* command : {"sinks", "simulate", "compress", "tucker", "profile", "analyze_generation",
                              "analyze_similarity", "capture"})
    runs.push_back({command, "--out", places[2].string()});
  runs.push_back({"prune", "--tokens", "0-3", "--out", places[2].string()});
  for (Words& run : runs) {
    const std::string out = run.back();
    CAPTURE(run.front());
    CAPTURE(out);
    run.insert(run.end(), {"--model", "no/such/model"});
    const Finished done = Running(run, folder.path(), as_a_user).wait();
    CHECK(done.code == 1);
    CHECK_MESSAGE(holds(done.err, "kvviz: cannot write into " + out), done.err);
    CHECK_MESSAGE(!holds(done.err, "no/such/model"), done.err);
  }
  CHECK(test::files_below(folder.path()).size() == 1);
  test::proved({"an output folder that is a file, read-only or below such a one",
                "refused before the model is read, with the reason", "1"});
}
