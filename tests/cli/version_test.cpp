// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::run_kvviz;
using test::TemporaryFolder;
namespace fs = std::filesystem;

TEST_CASE("[version] --version is one line, --verbose adds compiler, build and libraries") {
  const TemporaryFolder folder;
  const auto plain = run_kvviz({"--version"}, folder.path());
  CHECK(plain.code == 0);
  CHECK(plain.out.starts_with("kvviz "));
  CHECK(std::ranges::count(plain.out, '\n') == 1);
  CHECK(run_kvviz({"compare", "--version"}, folder.path()).out == plain.out);
  const auto full = run_kvviz({"--version", "--verbose"}, folder.path());
  CHECK(full.code == 0);
  CHECK(full.err.empty());
  CHECK(full.out.starts_with(plain.out));
  for (const char* fact : {"compiler:", "build:", "CLI11:", "data:", "engine:", "libtorch:", "BLAS:",
                           "oneDNN:", "SIMD:", "HDF5:", "CPUs:"})
    CHECK_MESSAGE(full.out.find(std::string("\n") + fact + " ") != std::string::npos, fact);
  CHECK(full.out.find("OpenBLAS ") != std::string::npos);
  CHECK(run_kvviz({"--verbose"}, folder.path()).code == 2);
  CHECK(run_kvviz({"analyze", "--verbose"}, folder.path()).err.find("--version") != std::string::npos);
}

TEST_CASE("[version] an executable without its engine and data still says what it is and what it lacks") {
  const TemporaryFolder folder;
  fs::create_directory(folder / "bin");
  fs::copy_file(KVVIZ_EXECUTABLE, folder / "bin/kvviz");
  const auto run = [&](const std::string& arguments) {
    const std::string call =
        "'" + (folder / "bin/kvviz").string() + "' " + arguments + " > '" + (folder / "out").string() + "'";
    CHECK(std::system(call.c_str()) == 0);
    return read_file(folder / "out");
  };
  CHECK(run("--version") == run_kvviz({"--version"}, folder.path()).out);
  CHECK(run("analyze --man").starts_with(".TH"));
  CHECK(run("--complete si").starts_with("sinks\t"));
  const std::string facts = run("--version --verbose");
  CHECK_MESSAGE(facts.find("not installed completely: no engine") != std::string::npos, facts);
  CHECK(facts.find("not loaded:") != std::string::npos);
}
