// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "cli/process.hpp"
#include "cli/results.hpp"
#include "kvviz/io/result_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using nlohmann::json;
using test::holds;
using test::number;
using test::row;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

json tucker(std::vector<std::string> arguments, const fs::path& folder) {
  arguments.insert(arguments.begin(), {"tucker", "--samples", "0-1"});
  return test::result_of(arguments, folder);
}

json outcome(const json& result, const char* family, const char* keys = "post_rope") {
  return row(result, "tucker", {{"family", family}, {"keys", keys}});
}

std::string refused(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "tucker");
  return test::refused(arguments, 2);
}

}  // namespace

TEST_CASE("[tucker] default ranks compress; a layer's numbers add up; the bytes by hand") {
  const test::TemporaryFolder folder;
  const json result = tucker({}, folder.path());
  const json& summary = result["summary"];
  CHECK(summary["sizes"] == "4 x 256 x 16");
  CHECK(summary["ranks"] == "4 x 16 x 8");
  CHECK(summary["clamped"] == "none");
  const double stored = 4 * 16 * 8 + 4 * 4 + 256 * 16 + 16 * 8;
  CHECK(number(summary, "ratio") == doctest::Approx(4 * 256 * 16 / stored));
  CHECK(number(summary, "stored_bytes") == 2 * 8 * stored);
  // One layer's keys and values are restored at a time.
  CHECK(number(outcome(result, "tucker"), "resident_bytes") == 2 * 8 * stored + 2 * 2 * 4 * 256 * 16);
  CHECK(result["tables"]["tucker_heads"]["rows"].size() == 3 * 4 * 8);
  double head_errors = 0;
  for (const json& one : result["tables"]["tucker_heads"]["rows"])
    if (one["family"] == "tucker") head_errors += number(one, "output_error") / 32;
  CHECK(head_errors == doctest::Approx(number(outcome(result, "tucker"), "output_error")));
  const json layer = row(result, "tucker_layers", {{"layer", 2}, {"half", "value"}});
  CHECK(number(layer, "stored") == stored);
  CHECK(number(layer, "stored_bytes") == 2 * stored);
  CHECK(number(layer, "elements") == 4 * 256 * 16);
  CHECK(number(layer, "error") <= number(layer, "initial_error"));
  CHECK(number(layer, "best_error") > 0);
  double errors = 0;
  for (const json& one : result["tables"]["tucker_layers"]["rows"])
    if (one["half"] == "key") errors += number(one, "error") / 4;
  CHECK(number(summary, "key_mean_error") == doctest::Approx(errors));
  CHECK(number(outcome(result, "tucker"), "predictions") == 2 * 255);
  // Factors in f16 lose little beside the decomposition; the SVD takes no more bytes.
  CHECK(number(outcome(result, "tucker"), "key_error") ==
        doctest::Approx(number(summary, "key_error")).epsilon(1e-3));
  CHECK(number(outcome(result, "svd"), "bytes_per_token") <=
        number(outcome(result, "tucker"), "bytes_per_token"));
  CHECK(number(outcome(result, "tucker_best"), "bytes_per_token") <=
        number(outcome(result, "tucker"), "bytes_per_token"));
  CHECK(result["tables"]["tucker_sensitivity"]["rows"].size() == 4);
}

TEST_CASE("[tucker] full ranks: nothing is lost but f16, and it is an expansion") {
  const test::TemporaryFolder folder;
  const json full =
      tucker({"--head-rank", "99", "--token_rank", "9999", "--embedding_rank", "99", "--no-sensitivity"},
             folder.path());
  CHECK(number(full["summary"], "key_error") < 1e-5);
  CHECK(number(full["summary"], "value_error") < 1e-5);
  CHECK(number(full["summary"], "ratio") < 1);
  CHECK(holds(full["summary"]["clamped"], "heads 99 to 4 in 8 of 8 tensors"));
  CHECK(holds(full["summary"]["clamped"], "tokens 9999 to 64"));
  CHECK(holds(full["summary"]["clamped"], "channels 99 to 16"));
  CHECK(std::fabs(number(outcome(full, "tucker"), "delta_ppl_percent")) < 0.1);
  CHECK(number(outcome(full, "tucker"), "kl") < 1e-4);
  CHECK_FALSE(full["tables"].contains("tucker_sensitivity"));
  // A rank that is not given leaves its mode whole.
  const json tokens = tucker({"--token-rank", "8", "--no-sensitivity"}, folder.path());
  CHECK(tokens["summary"]["ranks"] == "4 x 8 x 16");
}

TEST_CASE("[tucker] keys before RoPE: the heads' curve stays, the channels' falls; HOSVD is not below HOOI") {
  const test::TemporaryFolder folder;
  const auto run = [&](const char* basis, const char* method) {
    return tucker({"--key-basis", basis, "--method", method, "--no-sensitivity"}, folder.path());
  };
  const json before = run("pre_rope", "hooi"), after = run("post_rope", "hooi"),
             hosvd = run("post_rope", "hosvd");
  const auto error = [](const json& result, const char* keys, const char* mode, int rank) {
    return number(
        row(result, "tucker_ranks", {{"half", "key"}, {"keys", keys}, {"mode", mode}, {"rank", rank}}),
        "error");
  };
  // A rotation of all heads alike keeps the products between heads.
  CHECK(error(before, "pre_rope", "heads", 2) ==
        doctest::Approx(error(after, "post_rope", "heads", 2)).epsilon(1e-5));
  CHECK(error(before, "pre_rope", "channels", 4) < error(after, "post_rope", "channels", 4));
  CHECK(number(before["summary"], "value_error") == number(after["summary"], "value_error"));
  CHECK(number(hosvd["summary"], "value_error") > number(after["summary"], "value_error"));
  CHECK(row(hosvd, "tucker_layers", {{"layer", 0}, {"half", "value"}})["sweeps"] == 0);
}

TEST_CASE("[tucker] a layer alone loses what it loses, and one side alone leaves the other in f16") {
  const test::TemporaryFolder folder;
  const json keys = tucker({"--sides", "keys"}, folder.path());
  for (int layer = 0; layer < 4; ++layer) {
    const json one = row(keys, "tucker_sensitivity", {{"layer", layer}});
    CHECK(number(one, "key_error") > 0.1);
    CHECK(number(one, "value_error") < 1e-3);
    CHECK(number(one, "kl") > 0);
    CHECK(number(one, "kl") < number(outcome(keys, "tucker"), "kl"));
  }
  CHECK(keys["tables"]["tucker_layers"]["rows"].size() == 4);
  CHECK(keys["summary"]["value_error"].is_null());
  CHECK(number(outcome(keys, "tucker"), "value_error") < 1e-3);
}

TEST_CASE(
    "[tucker] the sweep: errors fall with ranks, both bases, the same bytes for any number of threads") {
  const test::TemporaryFolder folder;
  const auto run = [&](const char* threads) {
    return run_kvviz(
        {"--threads", threads, "tucker", "--samples", "0", "--sweep", "--json", "-", "--no-plots"},
        folder.path());
  };
  const auto first = run("2");
  REQUIRE_MESSAGE(first.code == 0, first.err);
  CHECK(run("2").out == first.out);
  json one = json::parse(first.out), three = json::parse(run("3").out);
  CHECK(one["tables"]["tucker_sweep"]["rows"].size() == 2 * 3 * 8);
  for (const char* family : {"tucker", "tucker_best", "svd"})
    for (const char* keys : {"pre_rope", "post_rope"})
      for (int step = 2; step <= 8; ++step) {
        const auto at = [&](int s) {
          return row(one, "tucker_sweep", {{"family", family}, {"keys", keys}, {"step", s}});
        };
        CHECK(number(at(step), "key_error") <= number(at(step - 1), "key_error") + 1e-3);  // f16
        CHECK(number(at(step), "value_error") <= number(at(step - 1), "value_error") + 1e-3);
        CHECK(number(at(step), "bytes_per_token") >= number(at(step - 1), "bytes_per_token"));
      }
  one.erase("provenance");
  three.erase("provenance");
  CHECK(one == three);
}

TEST_CASE("[tucker] a cache file: the same decomposition, no loss, and the reason") {
  const test::TemporaryFolder folder;
  REQUIRE(run_kvviz({"capture", "--seq-len", "100"}, folder.path()).code == 0);
  const json file = test::result_of({"tucker", "--cache", "caches/cache.h5", "--layer", "1"}, folder.path());
  CHECK(file["summary"]["sizes"] == "4 x 100 x 16");
  CHECK(number(file["summary"], "ratio") > 2);
  CHECK(file["summary"]["delta_ppl_percent"].is_null());
  const json why{{"path", "summary.delta_ppl_percent"}, {"reason", "a cache file has no model"}};
  CHECK(std::ranges::count(file["nulls"], why) == 1);
  CHECK(outcome(file, "svd")["delta_ppl_percent"].is_null());
  CHECK(number(outcome(file, "svd"), "key_error") > 0);
  CHECK_FALSE(file["tables"].contains("tucker_sensitivity"));
  CHECK_FALSE(file["tables"].contains("tucker_heads"));
  CHECK(number(outcome(file, "tucker"), "resident_bytes") ==
        number(file["summary"], "stored_bytes") + 2 * 2 * 4 * 100 * 16);
  // The same tokens as the prefix of a text give the same numbers.
  const json text = test::result_of(
      {"tucker", "--samples", "0", "--prefix-tokens", "100", "--no-sensitivity"}, folder.path());
  for (const char* error : {"key_error", "value_error"})
    CHECK(number(file["summary"], error) == doctest::Approx(number(text["summary"], error)).epsilon(1e-5));
  const auto core = io::read_array(folder.path() / "results/tucker.h5", "tucker/key_core");
  CHECK(core.shape == std::vector<int64_t>{4, 16, 8});
  const auto cache = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"--cache", "missing.h5"});
    return refused(more);
  };
  CHECK(holds(cache({"--sweep"}), "no model"));
  CHECK(holds(cache({"--no-sensitivity"}), "no model"));
  CHECK(holds(cache({"--prompt", "a"}), "--prompt has no effect with --cache"));
  CHECK(holds(cache({"--windows", "2"}), "--windows"));
  const auto basis =
      run_kvviz({"tucker", "--cache", "caches/cache.h5", "--key-basis", "pre_rope"}, folder.path());
  CHECK(basis.code == 2);
  CHECK(holds(basis.err, "are post_rope"));
}

TEST_CASE("[tucker] the command line's mistakes") {
  CHECK(holds(refused({"--token-rank", "0"}), "--token-rank 0 keeps nothing"));
  CHECK(holds(refused({"--head-rank", "-3"}), "1 or more"));
  CHECK(holds(refused({"--embedding_rank", "0"}), "--channel-rank 0"));
  CHECK(holds(refused({"--layer", "4"}), "expected 0 to 3"));
  CHECK(holds(refused({"--prefix-tokens", "511"}), "leaves nothing to predict"));
  CHECK(holds(refused({"--method", "cp"}), "hosvd"));
  CHECK(holds(refused({"--key-basis", "rope"}), "pre_rope"));
  CHECK(holds(refused({"--key-basis", "pre_rope", "--sides", "values"}), "no effect"));
}
