// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/process.hpp"
#include "cli/results.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/result_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using nlohmann::json;
using test::holds;
using test::row;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

json profile(std::vector<std::string> arguments, const fs::path& folder) {
  arguments.insert(arguments.begin(), "profile");
  return test::result_of(arguments, folder);
}

const json& fact(const json& result, const char* key) {
  return result.at("summary").at(key);
}

/// Runs in `folder`; nothing may be written to its out/.
std::string refused(const fs::path& folder, std::vector<std::string> arguments, int code) {
  arguments.insert(arguments.begin(), "profile");
  arguments.insert(arguments.end(), {"--out", "out"});
  const auto run = run_kvviz(arguments, folder);
  CHECK_MESSAGE(run.code == code, run.err);
  CHECK(run.out.empty());
  CHECK_FALSE(fs::exists(folder / "out"));
  return run.err;
}

const std::vector<std::string> llama8b{"--layers", "32", "--kv-heads", "8", "--head-dim", "128"};

std::vector<std::string> with(std::vector<std::string> first, const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

struct AccessFile {
  std::vector<int64_t> shape{4, 4, 64};
  std::string head = "kv_head";
  bool reads_as_f32 = false;
};

/// The access arrays of `kvviz simulate` for the demo model: tokens 0 and 1 of layer 1 are read at every
/// step, one more entry a head than of any newest block.
void write_access(const fs::path& file, const AccessFile& content = {}) {
  const std::vector<int64_t>& shape = content.shape;
  io::ArrayFileWriter out(file, "simulate");
  const auto count = static_cast<size_t>(shape[0] * shape[1] * shape[2]);
  std::vector<int32_t> reads(count);
  std::vector<float> mass(count, 0.001F);
  for (int64_t head = 0; head < shape[1]; ++head) {
    const auto entry = static_cast<size_t>((shape[1] + head) * shape[2]);
    reads[entry] = static_cast<int32_t>(shape[2] - 1);
    reads[entry + 1] = static_cast<int32_t>(shape[2] - 2);
    mass[entry] = 100;
  }
  const std::vector<std::string> axes{"layer", content.head, "token"};
  if (content.reads_as_f32)
    out.add({"access/reads", axes, "steps", ""}, shape, std::vector<float>(count));
  else
    out.add({"access/reads", axes, "steps", ""}, shape, reads);
  out.add({"access/attention_mass", axes, "", ""}, shape, mass);
  out.commit();
}

}  // namespace

TEST_CASE("[profile] a config.json alone is enough") {
  const test::TemporaryFolder folder;
  fs::create_directory(folder / "gpt2");
  write_file(folder / "gpt2/config.json",
             R"({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": 12, "n_head": 12,
                 "n_embd": 768, "n_positions": 1024, "vocab_size": 50257, "activation_function": "gelu_new",
                 "layer_norm_epsilon": 1e-05})");
  const json result = profile({"--model", "gpt2", "--weights", "f16"}, folder.path());
  CHECK(fact(result, "bytes_per_token") == 36864);
  CHECK(fact(result, "tokens") == 1024);
  CHECK(fact(result, "cache_bytes") == 36864 * 1024);
  CHECK(fact(result, "parameters") == 124439808);
  CHECK(fact(result, "weights_bytes") == 2 * 124439808);
  CHECK(fact(result, "cache_to_weights").get<double>() == doctest::Approx(36864.0 * 1024 / (2 * 124439808)));
  CHECK(result["provenance"]["config_sha256"].get<std::string>().size() == 64);
  CHECK(row(result, "projection", {{"tokens", 131072}})["bytes"] == int64_t{36864} * 131072);
  CHECK(row(result, "projection", {{"tokens", 131072}})["within_context"] == "no");
  CHECK(row(result, "projection_dtypes", {{"tokens", 512}, {"dtype", "f32"}})["bytes"] == 73728 * 512);
  CHECK(row(result, "longest_context", {{"memory", "8GiB"}})["f16"] ==
        ((int64_t{8} << 30) - 2 * 124439808) / 36864);
  CHECK(result["tables"]["projection"]["rows"].size() == 9);
}

TEST_CASE("[profile] a sliding window ends the growth of the cache") {
  const test::TemporaryFolder folder;
  const json result = profile(
      {"--model", KVVIZ_FIXTURES "/models/mistral", "--tokens", "50", "--lengths", "5,7,900"}, folder.path());
  CHECK(fact(result, "window") == 7);
  CHECK(fact(result, "cache_bytes") == 7 * fact(result, "bytes_per_token").get<int64_t>());
  CHECK(row(result, "projection", {{"tokens", 900}})["bytes"] ==
        row(result, "projection", {{"tokens", 7}})["bytes"]);
  CHECK(row(result, "longest_context", {{"memory", "8GiB"}})["f16"].is_null());
  CHECK(row(result, "cache_layers", {{"layer", 1}})["kept"] == 7);
}

TEST_CASE("[profile] a geometry without a model; blocks are where the capacities put them") {
  const test::TemporaryFolder folder;
  const json result = profile(with(llama8b, {"--tokens", "8192", "--tier", "HBM:256MiB:3TB/s,RAM:4GiB:60GB/s",
                                             "--first-tokens", "0"}),
                              folder.path());
  CHECK(fact(result, "bytes_per_token") == 131072);
  CHECK(fact(result, "cache_bytes") == int64_t{1} << 30);
  CHECK(fact(result, "blocks") == 32 * 512);
  CHECK(fact(result, "longest_fast") == 2048);
  CHECK(fact(result, "bytes_per_token_layer") == 4096);
  for (const char* unknown : {"parameters", "context", "weights_bytes", "step_seconds_access"})
    CHECK_FALSE(result.at("summary").contains(unknown));
  CHECK(fact(result, "step_seconds_all").get<double>() ==
        doctest::Approx(268435456 / 3e12 + 3 * 268435456 / 60e9));
  CHECK(row(result, "placement", {{"placement", "age"}, {"tier", "HBM"}})["blocks"] == 32 * 128);
  const json newest = row(result, "block_runs", {{"layer", 31}, {"tier", "HBM"}});
  CHECK(newest["first_token"] == 6144);
  CHECK(newest["end_token"] == 8192);
  CHECK(fact(profile(llama8b, folder.path()), "tokens") == 4096);
}

TEST_CASE("[profile] placement by measured access") {
  const test::TemporaryFolder folder;
  write_access(folder / "access.h5");
  // 4 blocks a layer of 4 KiB each: room for two in the fast tier.
  const json result =
      profile({"--access", "access.h5", "--tier", "HBM:8KiB:1TB/s,RAM:1MB:1GB/s", "--first-tokens", "0"},
              folder.path());
  CHECK(fact(result, "tokens") == 64);
  CHECK(row(result, "block_runs", {{"placement", "age"}, {"layer", 1}, {"first_block", 0}})["tier"] != "HBM");
  CHECK(row(result, "block_runs", {{"placement", "access"}, {"layer", 1}, {"first_block", 0}})["tier"] ==
        "HBM");
  CHECK(fact(result, "fast_attention_access").get<double>() > 0.9);
  CHECK(fact(result, "fast_attention_age").get<double>() < 0.1);
  CHECK(fact(result, "step_seconds_access").get<double>() < fact(result, "step_seconds_age").get<double>());
  CHECK(fact(result, "step_seconds_bound").get<double>() <=
        fact(result, "step_seconds_access").get<double>());
  const auto tiers = io::read_array(folder / "results/profile.h5", "profile/tier_by_access");
  CHECK(tiers.shape == std::vector<int64_t>{4, 4});
  CHECK(std::get<std::vector<int32_t>>(tiers.values)[4] == 0);
  const auto gate = run_kvviz(
      {"profile", "--access", "access.h5", "--no-plots", "--fail-if", "placement.access@HBM.attention<2"},
      folder.path());
  CHECK(gate.code == 4);
}

TEST_CASE("[profile] figures are written, the same call gives the same bytes") {
  const test::TemporaryFolder folder;
  write_access(folder / "access.h5");
  const auto first = run_kvviz({"profile", "--access", "access.h5", "--json", "-"}, folder.path());
  REQUIRE_MESSAGE(first.code == 0, first.err);
  for (const char* name : {"projection", "block_map", "transfers"})
    CHECK(fs::exists(folder / ("graphs/profile/" + std::string(name) + ".png")));
  CHECK(run_kvviz({"profile", "--access", "access.h5", "--json", "-"}, folder.path()).out == first.out);
}

TEST_CASE("[profile] what is wrong on the command line is said") {
  const test::TemporaryFolder folder;
  const auto error = [&](const std::vector<std::string>& arguments) {
    return refused(folder.path(), arguments, 2);
  };
  CHECK(holds(error({"--dtype", "fp16"}), "f32, f16, bf16, f8, int8, int4, int2"));
  CHECK(holds(error({"--tokens", "0"}), "tokens"));
  CHECK(holds(error({"--block", "0"}), "block"));
  CHECK(holds(error({"--lengths", "512,0"}), "lengths"));
  CHECK(holds(error({"--memory", "lots"}), "--memory lots is no size"));
  CHECK(holds(error({"--memory", "8GiB,8GiB"}), "twice"));
  CHECK(holds(error({"--tier", "HBM:80GB"}), "NAME:CAPACITY:BANDWIDTH"));
  CHECK(holds(error({"--tier", "HBM:80GB:3TB"}), "NAME:CAPACITY:BANDWIDTH"));
  CHECK(holds(error({"--tier", "disk:1TB:7GB/s,HBM:80GB:3TB/s"}), "from the fastest to the slowest"));
  CHECK(holds(error({"--tier", "HBM:80GB:3TB/s,HBM:1TB:1TB/s"}), "names HBM twice"));
  CHECK(holds(error({"--l2", "small"}), "--l2 small is no size"));
  CHECK(holds(error({"--weights", "half"}), "neither a dtype"));
  CHECK(holds(error(with(llama8b, {"--weights", "f16"})), "needs a model to count the parameters"));
  CHECK(holds(error({"--layers", "32"}), "needs --kv-heads, --head-dim too"));
  CHECK(holds(error({"--window", "32"}), "needs --layers, --kv-heads, --head-dim too"));
  CHECK(holds(error(with(llama8b, {"--model", "gpt2"})), "give a model or a geometry"));
  CHECK(holds(error(with(llama8b, {"--tokens", "9000000000000000"})), "2^62"));
  CHECK(holds(error({"--fail-if", "no_such>1"}), "no_such"));
}

TEST_CASE("[profile] data that is at fault") {
  const test::TemporaryFolder folder;
  const auto error = [&](const std::vector<std::string>& arguments) {
    return refused(folder.path(), arguments, 1);
  };
  const std::string room =
      error(with(llama8b, {"--tokens", "8192", "--tier", "HBM:256MiB:3TB/s,RAM:256MiB:60GB/s"}));
  CHECK(holds(room, "536870912 bytes (512 MiB) do not fit"));
  CHECK(holds(room, "takes 1073741824 bytes"));
  CHECK(holds(error(with(llama8b, {"--weights", "100GB"})), "the weights take 100000000000 bytes; HBM has"));
  fs::create_directory(folder / "empty");
  CHECK(holds(error({"--model", "empty"}), "no config.json"));
  write_file(folder / "empty/config.json", R"({"architectures": ["PhiForCausalLM"], "model_type": "phi"})");
  CHECK(holds(error({"--model", "empty"}), "--kv-heads and --head-dim"));
  write_access(folder / "short.h5", {.shape = {3, 4, 64}});
  CHECK(holds(error({"--access", "short.h5"}), "the cache has 4 layers"));
  write_access(folder / "fits.h5");
  CHECK(holds(error({"--access", "fits.h5", "--tokens", "65"}), "64 tokens"));
  write_access(folder / "typed.h5", {.reads_as_f32 = true});
  CHECK(holds(error({"--access", "typed.h5"}), "another type; expected int32"));
  write_access(folder / "query_heads.h5", {.head = "query_head"});
  CHECK(holds(error({"--access", "query_heads.h5"}), "Simulate without --per-query-head"));
  CHECK(holds(error({"--access", "missing.h5"}), "missing.h5"));
  io::ArrayFileWriter other(folder / "other.h5", "analyze");
  other.add({"rms", {"layer"}, "", ""}, std::vector<int64_t>{1}, std::vector<float>{1});
  other.commit();
  CHECK(holds(error({"--access", "other.h5"}), "no array access/reads"));
}

TEST_CASE("[profile] docs/profile.md names every number, table, column, array and figure") {
  const test::TemporaryFolder folder;
  write_access(folder / "access.h5");
  const auto run =
      run_kvviz({"profile", "--access", "access.h5", "--weights", "f16", "--json", "-"}, folder.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  const json result = json::parse(run.out);
  const std::string page = read_file(fs::path(KVVIZ_SOURCES) / "docs/profile.md");
  const auto named = [&](const std::string& name) {
    CHECK_MESSAGE(page.find('`' + name + '`') != std::string::npos, name);
  };
  REQUIRE(result["summary"].size() >= 20);
  for (const auto& [name, value] : result["summary"].items()) named(name);
  REQUIRE(result["tables"].size() == 7);
  for (const auto& [name, table] : result["tables"].items()) {
    named(name);
    for (const json& column : table["columns"]) named(column["name"]);
  }
  REQUIRE(result["figures"].size() == 3);
  for (const json& figure : result["figures"])
    named("profile/" + fs::path(figure["path"].get<std::string>()).stem().string());
  const auto arrays = io::list_arrays(folder / "results/profile.h5");
  REQUIRE(arrays.size() == 4);
  for (const std::string& array : arrays) named(array);
}
