// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

/// An installed tree, moved away from where it was installed.
class Installed {
 public:
  Installed() {
    shell("'" KVVIZ_CMAKE "' --install '" KVVIZ_BUILD "' --prefix '" + (folder_ / "first").string() +
          "' > log");
    fs::rename(folder_ / "first", folder_ / "moved");
    fs::create_directory(folder_ / "scratch");
  }
  fs::path operator/(const std::string& name) const { return folder_ / "moved" / name; }
  const TemporaryFolder& folder() const { return folder_; }

  /// stdout of a call of the installed kvviz in an empty folder.
  std::string kvviz(const std::string& arguments) const {
    shell("cd scratch && LD_DEBUG=files LD_DEBUG_OUTPUT=../loaded ../moved/bin/kvviz " + arguments +
          " > ../out");
    return read_file(folder_ / "out");
  }
  void shell(const std::string& command) const {
    const std::string call = "cd '" + folder_.path().string() + "' && " + command;
    REQUIRE_MESSAGE(std::system(call.c_str()) == 0, call);
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("[install] a moved tree runs with nothing of the sources or the build") {
  const Installed tree;
  const std::string moved = fs::canonical(tree.folder() / "moved").string();
  const std::string facts = tree.kvviz("--version --verbose");
  CHECK_MESSAGE(facts.find(moved + "/share/kvviz\n") != std::string::npos, facts);
  CHECK_MESSAGE(facts.find(moved + "/lib/kvviz/libkvviz_engine.so\n") != std::string::npos, facts);
  CHECK(facts.find("libtorch:") != std::string::npos);
  CHECK(facts.find("not loaded") == std::string::npos);

  CHECK(tree.kvviz("analyze --seq-len 32 --no-plots --focus layers").find("Tokens") != std::string::npos);
  CHECK(fs::exists(tree.folder() / "scratch/results/analyze.json"));
  CHECK(tree.kvviz("list-samples").find("Lighthouse") != std::string::npos);
  tree.kvviz("models list");
  CHECK(tree.kvviz("--config ../moved/share/doc/kvviz/config/default.toml list-samples") ==
        tree.kvviz("list-samples"));

  std::string loaded;
  for (const auto& entry : fs::directory_iterator(tree.folder().path()))
    if (entry.path().filename().string().starts_with("loaded.")) loaded += read_file(entry.path());
  CHECK(loaded.find(moved + "/lib/kvviz/libkvviz_sentencepiece.so") != std::string::npos);
  CHECK(loaded.find(KVVIZ_BUILD) == std::string::npos);
  for (const char* file : {"bin/kvviz", "lib/kvviz/libkvviz_engine.so", "lib/kvviz/libkvviz_network.so",
                           "lib/kvviz/libkvviz_sentencepiece.so"})
    tree.shell(std::string("! readelf -d moved/") + file +
               " | grep -E 'R(UN)?PATH' | grep -F '" KVVIZ_BUILD "'");
}

TEST_CASE("[install] the engine's libraries are listed from the bottom up, and found without the list") {
  const Installed tree;
  const fs::path file = tree / "lib/kvviz/libkvviz_engine.libraries";
  const std::string list = read_file(file);
  const size_t below = list.find("/libc10.so"), above = list.find("/libtorch_cpu.so");
  CHECK(above != std::string::npos);
  CHECK(below < above);
  std::istringstream lines(list);
  for (std::string line; std::getline(lines, line);) CHECK_MESSAGE(fs::exists(line), line);
  fs::remove(file);
  CHECK(tree.kvviz("models info demo").find("LlamaForCausalLM") != std::string::npos);
}

TEST_CASE("[install] manual pages, completion and documents are where systems look for them") {
  const Installed tree;
  for (const char* file : {"share/man/man1/kvviz.1.gz", "share/man/man1/kvviz-analyze_generation.1.gz",
                           "share/man/man1/kvviz-models-pull.1.gz", "share/bash-completion/completions/kvviz",
                           "share/zsh/site-functions/_kvviz", "share/fish/vendor_completions.d/kvviz.fish",
                           "share/doc/kvviz/copyright", "share/doc/kvviz/CHANGELOG.md",
                           "share/doc/kvviz/docs/analyze.md", "share/kvviz/scripts/export_hf_cache.py"})
    CHECK_MESSAGE(fs::file_size(tree / file) > 0, file);
  CHECK(tree.kvviz("compare --man") != "");
  tree.shell("zcat moved/share/man/man1/kvviz-compare.1.gz | cmp - out");
  CHECK(tree.kvviz("--completion bash") == read_file(tree / "share/bash-completion/completions/kvviz"));
}

TEST_CASE("[install] links of the installed README lead to installed files") {
  const Installed tree;
  const std::string page = read_file(tree / "share/doc/kvviz/README.md");
  int links = 0;
  for (size_t at = page.find("]("); at != std::string::npos; at = page.find("](", at + 1)) {
    const std::string target = page.substr(at + 2, page.find_first_of(")#", at + 2) - at - 2);
    if (target.empty() || target.starts_with("http")) continue;
    CHECK_MESSAGE(fs::exists(tree / ("share/doc/kvviz/" + target)), target);
    ++links;
  }
  CHECK(links > 20);
}
