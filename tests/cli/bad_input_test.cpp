// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/model/checkpoint.hpp"
#include "kvviz/model/safetensors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

const fs::path demo = fs::path(KVVIZ_DATA) / "models/demo";

// Runs analyze with output to out/; it must fail with 1, say `message` and leave nothing behind.
void check_refused(const fs::path& folder, std::vector<std::string> arguments, const std::string& message) {
  arguments.insert(arguments.begin(), "analyze");
  if (std::find(arguments.begin(), arguments.end(), "--out") == arguments.end())
    arguments.insert(arguments.end(), {"--out", "out"});
  const auto run = run_kvviz(arguments, folder);
  CHECK_MESSAGE(run.code == 1, run.err);
  CHECK(run.out.empty());
  CHECK_MESSAGE(run.err.find(message) != std::string::npos, run.err);
  CHECK(run.err.find("internal error") == std::string::npos);
  CHECK_FALSE(fs::exists(folder / "out"));
}

struct Workplace {
  Workplace() { fs::copy(demo, model); }
  test::TemporaryFolder folder;
  fs::path model = folder.path() / "model";
  void refused(const std::string& message) const {
    check_refused(folder.path(), {"--model", model.string()}, message);
  }
};

}  // namespace

TEST_CASE("[bad input] models") {
  SUBCASE("missing") {
    check_refused(test::TemporaryFolder().path().parent_path(), {"--model", "no/such/model/here"},
                  "no model folder");
  }
  SUBCASE("no config") {
    const Workplace w;
    fs::remove(w.model / "config.json");
    w.refused("no config.json");
  }
  SUBCASE("unknown architecture") {
    const Workplace w;
    write_file(w.model / "config.json", R"({"architectures":["ZorkForCausalLM"],"model_type":"zork"})");
    w.refused("supported: GPT2LMHeadModel");
  }
  SUBCASE("no tokenizer") {
    const Workplace w;
    fs::remove(w.model / "tokenizer.model");
    w.refused("tokenizer.model");
  }
  SUBCASE("corrupt tokenizer") {
    const Workplace w;
    write_file(w.model / "tokenizer.model", "not a model");
    w.refused("tokenizer.model");
  }
  SUBCASE("truncated weights") {
    const Workplace w;
    fs::resize_file(w.model / "model.safetensors", fs::file_size(w.model / "model.safetensors") / 2);
    w.refused("truncated");
  }
  SUBCASE("a header that lies about its length") {
    const Workplace w;
    std::string bytes = read_file(w.model / "model.safetensors");
    bytes[7] = 0x7f;
    write_file(w.model / "model.safetensors", bytes);
    w.refused("header claims");
  }
  SUBCASE("NaN weights") {
    const Workplace w;
    std::map<std::string, at::Tensor> tensors;
    {
      const Checkpoint checkpoint = Checkpoint::open(demo);
      for (const auto& [name, stored] : checkpoint.tensors()) tensors[name] = borrowed(stored)->clone();
    }
    tensors.at("model.norm.weight")[0] = std::numeric_limits<float>::quiet_NaN();
    write_safetensors(w.model / "model.safetensors", tensors, {});
    w.refused("model.norm.weight holds NaN");
  }
}

TEST_CASE("[bad input] texts") {
  const test::TemporaryFolder folder;
  write_file(folder.path() / "bad.txt", "good \xff\xfe bad");
  write_file(folder.path() / "empty.txt", "");
  write_file(folder.path() / "ids.txt", "1 2 three");
  write_file(folder.path() / "large.txt", "1 2 999999");
  std::string words;
  for (int i = 0; i < 3000; ++i) words += "word ";
  write_file(folder.path() / "long.txt", words);
  check_refused(folder.path(), {"--prompt-file", "bad.txt"}, "offset 5");
  check_refused(folder.path(), {"--prompt-file", "empty.txt"}, "empty");
  check_refused(folder.path(), {"--prompt-file", "none.txt"}, "none.txt");
  check_refused(folder.path(), {"--tokens", "ids.txt"}, "three");
  check_refused(folder.path(), {"--tokens", "large.txt"}, "vocabulary");
  check_refused(folder.path(), {"--prompt-file", "long.txt"}, "the model's context is 1024");
  check_refused(folder.path(), {"--seq-len", "1000", "--wikitext-index", "8"},
                "there is no article 8; there are 8");
  check_refused(folder.path(), {"--prompt", "too short", "--seq-len", "1000"}, "the text has");
  check_refused(folder.path(), {"--wikitext-index", "1000"}, "1000");
  check_refused(folder.path(), {"--wikitext-dir", "nowhere"}, "nowhere");
  const auto cut =
      run_kvviz({"analyze", "--prompt-file", "long.txt", "--truncate", "--no-plots", "--focus", "layers"},
                folder.path());
  CHECK_MESSAGE(cut.code == 0, cut.err);
  CHECK(cut.out.find("1,024 tokens") != std::string::npos);
}

TEST_CASE("[bad input] cache files and output folders") {
  const test::TemporaryFolder folder;
  write_file(folder.path() / "junk.h5", "this is no HDF5 file at all");
  check_refused(folder.path(), {"--cache", "junk.h5"}, "junk.h5");
  check_refused(folder.path(), {"--cache", "none.h5"}, "none.h5");
  check_refused(folder.path(), {"--out", "junk.h5/out"}, "junk.h5");
  check_refused(folder.path(), {"--out", "/proc/no"}, "/proc");
}

TEST_CASE("[bad input] numbers out of range are refused in few words, by every command") {
  const test::TemporaryFolder folder;
  const std::pair<std::vector<std::string>, const char*> mistakes[] = {
      {{"compress", "--windows", "0"}, "--windows: got 0, expected 1 or more\n"},
      {{"compress", "--recommend", "0"}, "--recommend: got 0, expected more than 0\n"},
      {{"compress", "--recommend", "inf"}, "--recommend: got inf, expected more than 0\n"},
      {{"tucker", "--windows", "-3"}, "--windows: got -3, expected 1 or more\n"},
      {{"analyze", "--seq-len", "-1"}, "--seq-len: got -1, expected 0 or more\n"},
      {{"analyze", "--seq-len", "many"}, "--seq-len: got many, expected 0 or more\n"},
      {{"sinks", "--probe-tokens", "1"}, "--probe-tokens: got 1, expected 2 or more\n"},
      {{"profile", "--lengths", "512,0"}, "--lengths: got 0, expected 1 or more\n"},
      {{"simulate", "--epsilon", "nan"}, "--epsilon: got nan, expected 0 or more\n"},
      {{"simulate", "--floor", "1.5"}, "--floor: got 1.5, expected 0 to 1\n"},
      {{"serve", "--port", "65536"}, "--port: got 65536, expected 0 to 65535\n"},
      {{"simulate", "--epsilon", "-0.5"}, "--epsilon: got -0.5, expected 0 or more\n"},
  };
  for (const auto& [arguments, message] : mistakes) {
    CAPTURE(message);
    const auto run = run_kvviz(arguments, folder.path());
    CHECK(run.code == 2);
    CHECK_MESSAGE(run.err.find(message) != std::string::npos, run.err);
  }
  const auto help = run_kvviz({"compress", "--help"}, folder.path()).out;
  CHECK(help.find("--windows INT:1.. [1]") != std::string::npos);
  CHECK(help.find("INT:0.. [0] ") != std::string::npos);
  CHECK(help.find("--recommend FLOAT:>0 ") != std::string::npos);
}
