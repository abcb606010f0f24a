// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "cli/process.hpp"
#include "cli/results.hpp"
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

json compress(std::vector<std::string> arguments, const fs::path& folder) {
  arguments.insert(arguments.begin(), {"compress", "--samples", "0-1", "--no-timings"});
  return test::result_of(arguments, folder);
}

json outcome(const json& result, const char* method) {
  return row(result, "compress", {{"method", method}});
}

std::string refused(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "compress");
  return test::refused(arguments, 2);
}

}  // namespace

TEST_CASE("[compress] f32 loses nothing, exactly; fewer bits lose more") {
  const test::TemporaryFolder folder;
  const json result = compress({"--method", "f32,f16,rtn_token:8,rtn_token:4,rtn_token:2"}, folder.path());
  const json exact = outcome(result, "f32");
  for (const char* loss : {"delta_nll", "delta_ppl", "kl", "key_error", "value_error", "output_error"})
    CHECK(number(exact, loss) == 0);
  CHECK(exact["top1_agreement"] == 1);
  CHECK(exact["ratio"] == 0.5);
  CHECK(outcome(result, "f16")["ratio"] == 1);
  CHECK(outcome(result, "f16")["bytes_per_token"] == 4 * 4 * 2 * 16 * 2);
  CHECK(result["summary"]["coded_tokens"] == 256);
  CHECK(result["summary"]["predictions"] == 2 * 255);
  const char* fewer[] = {"f16", "rtn_token:8", "rtn_token:4", "rtn_token:2"};
  for (size_t i = 1; i < std::size(fewer); ++i)
    for (const char* error : {"key_error", "value_error", "output_error", "kl"})
      CHECK(number(outcome(result, fewer[i]), error) > number(outcome(result, fewer[i - 1]), error));
  // 8 bits an element, and two f16 for each head's token.
  CHECK(number(outcome(result, "rtn_token:8"), "payload_bytes") == 256 * 4 * 4 * 2 * 16);
  CHECK(number(outcome(result, "rtn_token:8"), "metadata_bytes") == 256 * 4 * 4 * 2 * 4);
  for (const json& one : result["tables"]["compress"]["rows"]) {
    CHECK(number(one, "ppl") == doctest::Approx(std::exp(number(one, "nll"))));
    CHECK(number(one, "delta_ppl_percent") ==
          doctest::Approx(100 * number(one, "delta_ppl") / number(result["summary"], "full_ppl")));
  }
}

TEST_CASE("[compress] keys alone and values alone; the other side is f16") {
  const test::TemporaryFolder folder;
  const json keys = compress({"--method", "q4_0", "--sides", "keys"}, folder.path());
  const json values = compress({"--method", "q4_0", "--sides", "values"}, folder.path());
  const json both = compress({"--method", "q4_0"}, folder.path());
  CHECK(number(outcome(keys, "q4_0"), "value_error") < 1e-3);
  CHECK(number(outcome(values, "q4_0"), "key_error") < 1e-3);
  CHECK(outcome(keys, "q4_0")["key_error"] == outcome(both, "q4_0")["key_error"]);
  CHECK(outcome(values, "q4_0")["value_error"] == outcome(both, "q4_0")["value_error"]);
  const double f16 = number(outcome(both, "q4_0"), "f16_bytes");
  const auto bytes = [](const json& r) {
    return number(outcome(r, "q4_0"), "payload_bytes") + number(outcome(r, "q4_0"), "metadata_bytes");
  };
  CHECK(bytes(keys) + bytes(values) == doctest::Approx(f16 + bytes(both)));
}

TEST_CASE("[compress] the sweep of all methods: a frontier that nothing beats, the same bytes twice") {
  const test::TemporaryFolder folder;
  const auto run = [&](const char* threads) {
    return run_kvviz({"--threads", threads, "compress", "--samples", "0", "--sweep", "--no-timings", "--json",
                      "-", "--no-plots"},
                     folder.path());
  };
  const auto first = run("2");
  REQUIRE_MESSAGE(first.code == 0, first.err);
  CHECK(run("2").out == first.out);
  json one = json::parse(first.out), three = json::parse(run("3").out);
  const auto& rows = one["tables"]["compress"]["rows"];
  CHECK(rows.size() > 30);
  const auto change = [](const json& r) {
    return std::fabs(number(r, "delta_ppl_percent")) + number(r, "delta_ppl_percent_se");
  };
  size_t on_frontier = 0;
  for (const json& a : rows) {
    if (a["on_frontier"] != 1) continue;
    ++on_frontier;
    for (const json& b : rows)
      CHECK_FALSE((number(b, "bytes_per_token") < number(a, "bytes_per_token") && change(b) <= change(a)));
  }
  CHECK(one["tables"]["compress_frontier"]["rows"].size() == on_frontier);
  one.erase("provenance");
  three.erase("provenance");
  CHECK(one == three);
  const json few = compress({"--method", "kivi,q8_0", "--sweep"}, folder.path());
  CHECK(few["tables"]["compress"]["rows"].size() >= 4);
}

TEST_CASE("[compress] a policy and a code: bytes by hand, and each alone loses less") {
  const test::TemporaryFolder folder;
  const json result =
      compress({"--method", "streaming_llm:0.25,q8_0,streaming_llm:0.25 + q8_0,h2o:64"}, folder.path());
  const json both = outcome(result, "streaming_llm:0.25 + q8_0");
  // 64 of 256 tokens, 18 bytes for the 16 channels of a head; the newest in their order need no positions.
  CHECK(number(both, "bytes_per_token") == doctest::Approx(0.25 * 4 * 4 * 2 * 16 * 18 / 16));
  CHECK(both["family"] == "streaming_llm + q8_0");
  CHECK(number(outcome(result, "streaming_llm:0.25"), "ratio") == 4);
  CHECK(number(outcome(result, "h2o:64"), "metadata_bytes") == 4 * 4 * 64 * 4);
  CHECK(number(both, "kl") > number(outcome(result, "q8_0"), "kl"));
  CHECK(number(both, "kl") > 0.9 * number(outcome(result, "streaming_llm:0.25"), "kl"));
  // Read as they are: no other copy beside them.
  CHECK(number(outcome(result, "h2o:64"), "resident_bytes") ==
        number(outcome(result, "h2o:64"), "payload_bytes") +
            number(outcome(result, "h2o:64"), "metadata_bytes"));
  CHECK(number(both, "resident_bytes") ==
        number(both, "payload_bytes") + number(both, "metadata_bytes") + 4 * 2 * 16 * 64 * 2);
}

TEST_CASE("[compress] options of policies act: without its sinks streaming_llm is a window") {
  const test::TemporaryFolder folder;
  const json without = compress({"--method", "streaming_llm:64,window:64", "--sinks", "0"}, folder.path());
  CHECK(outcome(without, "streaming_llm:64")["nll"] == outcome(without, "window:64")["nll"]);
  const json with = compress({"--method", "streaming_llm:64"}, folder.path());
  CHECK(number(outcome(with, "streaming_llm:64"), "nll") < number(outcome(without, "window:64"), "nll"));
}

TEST_CASE("[compress] a budget of all tokens evicts none: as if there were no policy") {
  const test::TemporaryFolder folder;
  const json result = compress({"--method", "q4_0,window:1.0 + q4_0,snapkv:1.0"}, folder.path());
  json alone = outcome(result, "q4_0"), after = outcome(result, "window:1.0 + q4_0");
  for (const char* same : {"nll", "kl", "key_error", "output_error", "payload_bytes"})
    CHECK(alone[same] == after[same]);
  CHECK(number(outcome(result, "snapkv:1.0"), "kl") < 1e-6);  // f16
}

TEST_CASE("[compress] another method in each layer costs what they cost there") {
  const test::TemporaryFolder folder;
  const json result = compress({"--method", "q8_0,q4_0,q8_0|q4_0|q4_0|q8_0"}, folder.path());
  const json mixed = outcome(result, "q8_0 | q4_0 | q4_0 | q8_0");
  CHECK(number(mixed, "bytes_per_token") == (number(outcome(result, "q8_0"), "bytes_per_token") +
                                             number(outcome(result, "q4_0"), "bytes_per_token")) /
                                                2);
  const auto error = [&](const char* method, int layer) {
    return row(result, "compress_layers", {{"method", method}, {"layer", layer}})["key_error"];
  };
  CHECK(error("q8_0 | q4_0 | q4_0 | q8_0", 0) == error("q8_0", 0));
  CHECK(error("q8_0 | q4_0 | q4_0 | q8_0", 1) == error("q4_0", 1));
}

TEST_CASE("[compress] as tokens are written: f32 loses nothing, and every prediction counts") {
  const test::TemporaryFolder folder;
  const json result = compress({"--method", "f32,q8_0,rtn_token:2", "--streaming"}, folder.path());
  CHECK(number(outcome(result, "f32"), "kl") == 0);
  CHECK(number(outcome(result, "f32"), "predictions") == 2 * 511);
  CHECK(number(outcome(result, "rtn_token:2"), "kl") > number(outcome(result, "q8_0"), "kl"));
  CHECK(number(outcome(result, "q8_0"), "bytes_per_token") == 4 * 4 * 2 * 16 * 18.0 / 16);
  CHECK(holds(refused({"--method", "svd:0.5", "--streaming"}), "each token by itself"));
  CHECK(holds(refused({"--method", "streaming_llm:0.5", "--streaming"}), "kvviz simulate"));
  CHECK(holds(refused({"--streaming", "--windows", "2"}), "--windows"));
}

TEST_CASE("[compress] windows and keys before RoPE: f32 stays exact") {
  const test::TemporaryFolder folder;
  const json windows = compress({"--method", "f32,rtn_token:3", "--windows", "4"}, folder.path());
  CHECK(number(outcome(windows, "f32"), "kl") == 0);
  CHECK(number(outcome(windows, "f32"), "predictions") == 2 * (256 - 4));
  CHECK(number(windows["summary"], "coded_tokens") == 256 + (0 + 64 + 128 + 192) / 4.0);
  const json before = compress({"--method", "f32,svd:0.5", "--key-basis", "pre_rope"}, folder.path());
  const json after = compress({"--method", "f32,svd:0.5"}, folder.path());
  CHECK(number(outcome(before, "f32"), "kl") == 0);
  CHECK(outcome(before, "svd:0.5")["value_error"] == outcome(after, "svd:0.5")["value_error"]);
  CHECK(outcome(before, "svd:0.5")["key_error"] != outcome(after, "svd:0.5")["key_error"]);
  CHECK(holds(refused({"--method", "f32", "--windows", "200"}), "less than 2"));
}

TEST_CASE("[compress] the recommendation is within its limit, and --method takes it") {
  const test::TemporaryFolder folder;
  const json result = compress({"--method", "f16,q8_0,q4_0,rtn_token:2", "--recommend", "2"}, folder.path());
  const json advice = json::parse(std::ifstream(folder.path() / "results" / "compress_advice.json"));
  CHECK(std::fabs(number(advice, "delta_ppl_percent")) + number(advice, "delta_ppl_percent_se") <= 2);
  REQUIRE(advice["layers"].size() == 4);
  const std::string method = advice["method"];
  const json again = compress({"--method", method}, folder.path());
  CHECK(number(outcome(again, method.c_str()), "delta_ppl_percent") == number(advice, "delta_ppl_percent"));
  CHECK_FALSE(fs::exists(folder.path() / "results" / "compress_advice.json"));
  CHECK(result["tables"]["compress_recommendation"]["rows"].size() == 4);
}

TEST_CASE("[compress] KIVI's table: keys by channel and values by token hurt attention less") {
  const test::TemporaryFolder folder;
  const json result = compress({"--method", "f16", "--kivi-table", "2"}, folder.path());
  const auto cell = [&](const char* side, const char* axis, const char* column) {
    return number(row(result, "kivi", {{"side", side}, {"axis", axis}}), column);
  };
  CHECK(cell("keys", "channel", "attention_weight_error") < cell("keys", "token", "attention_weight_error"));
  CHECK(cell("values", "token", "attention_output_error") <
        cell("values", "channel", "attention_output_error"));
  CHECK(cell("values", "token", "attention_weight_error") == 0);
  CHECK(result["tables"]["kivi_layers"]["rows"].size() == 4 * 4);
  CHECK(number(result["summary"], "attention_sparsity") > 0);
}

TEST_CASE("[compress] a cache file: errors and bytes, no loss") {
  const test::TemporaryFolder folder;
  REQUIRE(run_kvviz({"capture", "--use-wikitext"}, folder.path()).code == 0);
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"compress", "--cache", "caches/cache.h5", "--no-timings"});
    return test::result_of(arguments, folder.path());
  };
  const json result = run({"--method", "f32,q8_0,xkv:0.5"});
  CHECK(number(outcome(result, "f32"), "key_error") == 0);
  CHECK(number(outcome(result, "q8_0"), "bytes_per_token") == 4 * 4 * 2 * 16 * 18.0 / 16);
  CHECK(outcome(result, "q8_0")["kl"].is_null());
  const auto wrong = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"compress", "--cache", (folder.path() / "caches/cache.h5").string()});
    return test::refused(arguments, 2);
  };
  CHECK(holds(wrong({"--method", "h2o:0.5"}), "run with the model"));
  CHECK(holds(wrong({"--method", "q8_0 | q4_0"}), "the model has 4"));
  CHECK(holds(wrong({"--recommend", "1"}), "--recommend"));
  CHECK(holds(wrong({"--samples", "0"}), "without a model"));
}

TEST_CASE("[compress] a sweep leaves out what a model's shapes do not allow, and says so") {
  const test::TemporaryFolder folder;
  const fs::path model = fs::path(KVVIZ_FIXTURES) / "models" / "llama_gqa";  // head_dim 12
  std::ofstream(folder.path() / "ids") << "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
  fs::copy(model, folder.path() / "model");
  fs::copy(fs::path(KVVIZ_FIXTURES) / "tokenizers" / "characters" / "tokenizer.json", folder.path() / "model",
           fs::copy_options::overwrite_existing);
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments{"compress", "--model", "model", "--tokens", "ids", "--no-plots"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_kvviz(arguments, folder.path());
  };
  const auto sweep = run({"--method", "q8_0,hadamard", "--sweep"});
  CHECK_MESSAGE(sweep.code == 0, sweep.err);
  CHECK(holds(sweep.err, "left out hadamard:"));
  CHECK(holds(sweep.err, "power of two"));
  CHECK(holds(sweep.err, "can tell little"));
  const auto named = run({"--method", "hadamard:q4_0"});
  CHECK(named.code == 2);
  CHECK(holds(named.err, "power of two"));
}

TEST_CASE("[compress] the command line's mistakes") {
  const std::string unknown = refused({"--method", "kivy:4"});
  for (const char* name : {"kivy:4", "kivi", "q8_0", "svd", "tucker"}) CHECK(holds(unknown, name));
  CHECK(holds(refused({"--method", "kivi:5"}), "kivi"));
  CHECK(holds(refused({"--method", "svd:2.5"}), "share"));
  CHECK(holds(refused({"--method", "q8_0:3"}), "no argument"));
  CHECK(holds(refused({"--method", "q8_0,q8_0"}), "twice"));
  CHECK(holds(refused({"--method", "kivi:4", "--sweep"}), "without arguments"));
  CHECK(holds(refused({"--method", "q8_0", "--prefix-tokens", "511"}), "leaves nothing to predict"));
  CHECK(holds(refused({"--sides", "queries"}), "keys"));
  CHECK(holds(refused({"--method", "streaming_llm"}), "streaming_llm:0.25"));
  CHECK(holds(refused({"--method", "q8_0 + h2o:0.5"}), "policy first"));
  CHECK(holds(refused({"--method", "h2o:0.5 + window:0.5"}), "evicts twice"));
  CHECK(holds(refused({"--method", "q8_0 + q4_0"}), "codes twice"));
  CHECK(holds(refused({"--method", "h2o:0.5 + xkv:0.5"}), "between layers"));
  CHECK(holds(refused({"--method", "oracle:0.5"}), "kvviz simulate"));
  CHECK(holds(refused({"--method", "q8_0", "--sinks", "2"}), "no policy"));
  CHECK(holds(refused({"--method", "h2oo:64"}), "h2o:0.25"));
  CHECK(holds(refused({"--method", "h2o:64", "--sides", "keys"}), "keys and values together"));
  CHECK(holds(refused({"--method", "groups:1.5"}), "correlation"));
  CHECK(holds(test::refused({"compress", "--prompt", ""}, 2), "prompt"));
  CHECK(holds(refused({"--method", "q8_0 |  | q8_0"}), "empty step"));
  CHECK(holds(refused({"--method", "q8_0 | q4_0"}), "the model has 4"));
}
