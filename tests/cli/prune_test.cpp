// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>

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

json prune(std::vector<std::string> arguments) {
  const test::TemporaryFolder folder;
  arguments.insert(arguments.begin(), {"prune", "--samples", "0-1", "--no-timings"});
  return test::result_of(arguments, folder.path());
}

json variant(const json& result, const char* removed) {
  return row(result, "prune", {{"removed", removed}});
}

std::string refused(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "prune");
  return test::refused(arguments, 2);
}

}  // namespace

TEST_CASE("[prune] nothing loses nothing, exactly; parts alone and together") {
  const json result = prune({"--tokens", "0-3", "--channels", "0-3", "--sides", "keys", "--threshold", "1"});
  const json exact = variant(result, "nothing");
  for (const char* loss : {"delta_nll", "delta_ppl", "kl", "kl_max", "output_error", "saved_percent"})
    CHECK(number(exact, loss) == 0);
  CHECK(exact["top1_agreement"] == 1);
  CHECK(result["tables"]["prune"]["rows"].size() == 5);
  CHECK(result["summary"]["removed"] == "all");
  CHECK(number(result["summary"], "prefix") == 256);
  // 4 of 256 tokens; 4 of 16 channels of half of the elements.
  CHECK(number(variant(result, "tokens:0-3"), "saved_percent") == 100 * 4 / 256.0);
  CHECK(number(variant(result, "channels:0-3:keys"), "saved_percent") == 12.5);
  CHECK(number(variant(result, "channels:0-3:keys"), "value_zeros_percent") ==
        number(exact, "value_zeros_percent"));
  CHECK(number(variant(result, "all"), "saved_percent") > 12.5);
  CHECK(number(variant(result, "threshold:1:keys"), "value_error") == 0);
  // What is removed is not there; elements behind a bitmap are written out for a layer's attention.
  const json four = variant(result, "tokens:0-3"), small = variant(result, "threshold:1:keys");
  CHECK(number(four, "resident_bytes") == number(four, "payload_bytes") + number(four, "metadata_bytes"));
  CHECK(
      (number(small, "resident_bytes") > number(small, "payload_bytes") + number(small, "metadata_bytes")) ==
      (number(small, "metadata_bytes") > 0));
  CHECK(result["tables"]["prune_heads"]["rows"].size() == 5 * 4 * 8);
  for (const json& one : result["tables"]["prune"]["rows"]) {
    CHECK(number(one, "ppl") == doctest::Approx(std::exp(number(one, "nll"))));
    CHECK(one["decode_ms"].is_null());
  }
}

TEST_CASE("[prune] heads without layers are those heads in every layer; layers are all their heads") {
  const json heads = variant(prune({"--heads", "1"}), "heads:1");
  const json same = variant(prune({"--prune_heads", "1", "--layers", "0-3"}), "heads:1/layers:0-3");
  CHECK(heads["delta_nll"] == same["delta_nll"]);
  CHECK(heads["payload_bytes"] == same["payload_bytes"]);
  CHECK(number(heads, "saved_percent") == 25);
  CHECK(number(heads, "kl") > 0);
  const json layer = variant(prune({"--prune_layers", "2", "--prune_method", "layer"}), "layers:2");
  CHECK(number(layer, "saved_percent") == 25);
  CHECK(layer["delta_nll"] ==
        variant(prune({"--query-heads", "0-7", "--layers", "2"}), "query_heads:0-7/layers:2")["delta_nll"]);
  const json one = variant(prune({"--query-heads", "0"}), "query_heads:0");
  CHECK(number(one, "saved_percent") == 0);
  CHECK(holds(one["what"].get<std::string>(), "nothing is saved"));
}

TEST_CASE("[prune] decoding is timed with a cache that is smaller, and only then") {
  const test::TemporaryFolder folder;
  const json result = test::result_of(
      {"prune", "--samples", "0", "--tokens", "4-200", "--channels", "0", "--decode-steps", "10"},
      folder.path());
  const json tokens = variant(result, "tokens:4-200");
  CHECK(tokens["decode_steps"] == 10);
  CHECK(number(tokens, "full_decode_ms") > 0);
  CHECK(number(tokens, "decode_q1_ms") <= number(tokens, "decode_ms"));
  CHECK(number(tokens, "decode_ms") <= number(tokens, "decode_q3_ms"));
  const json& summary = result["summary"];
  CHECK(number(summary, "decode_q1_ms") <= number(summary, "decode_ms"));
  CHECK(number(summary, "full_decode_ms") <= number(summary, "full_decode_q3_ms"));
  const bool apart = number(summary, "decode_q3_ms") < number(summary, "full_decode_q1_ms") ||
                     number(summary, "full_decode_q3_ms") < number(summary, "decode_q1_ms");
  CHECK(summary["decode_percent"].is_null() != apart);
  CHECK(number(tokens, "full_store_bytes") == 256 * 4 * 4 * 2 * 16 * 4);
  CHECK(number(tokens, "store_bytes") == (256 - 197) * 4 * 4 * 2 * 16 * 4);
  CHECK(variant(result, "channels:0")["decode_ms"].is_null());
  const auto shown =
      run_kvviz({"prune", "--samples", "0", "--channels", "0", "--json", "-", "--no-plots"}, folder.path());
  CHECK(holds(shown.out, "every KV head holds every token"));
}

TEST_CASE("[prune] a continuation of one's own behind the whole text") {
  const test::TemporaryFolder folder;
  const json result =
      test::result_of({"prune", "--no-timings", "--prompt", "The old man looked at the sea.",
                       "--continuation", "It was a quiet day and the water was still.", "--tokens", "0"},
                      folder.path());
  const json none = test::result_of({"prune", "--no-timings", "--prompt", "The old man looked at the sea.",
                                     "--continuation", "It was another day.", "--tokens", "0"},
                                    folder.path());
  CHECK(result["summary"]["prefix"] == none["summary"]["prefix"]);
  CHECK(number(result["summary"], "predictions") > number(none["summary"], "predictions"));
  CHECK(number(result["summary"], "tokens") ==
        number(result["summary"], "prefix") + number(result["summary"], "predictions") + 1);
}

TEST_CASE("[prune] sweeps: every part once, as on its own, with metrics that analyze gives too") {
  const json heads = prune({"--sweep", "heads"});
  const auto& rows = heads["tables"]["prune_sweep"]["rows"];
  CHECK(rows.size() == 16);
  for (size_t i = 1; i < rows.size(); ++i)
    CHECK(number(rows[i - 1], "delta_nll") <= number(rows[i], "delta_nll"));
  const json one = row(heads, "prune_sweep", {{"layer", 2}, {"head", 1}});
  const json alone = variant(prune({"--layers", "2", "--heads", "1"}), "heads:1/layers:2");
  for (const char* same : {"delta_nll", "kl", "saved_percent"}) CHECK(one[same] == alone[same]);
  CHECK(heads["summary"]["cheapest"] == rows.front()["removed"]);
  const auto& metrics = heads["tables"]["prune_metrics"]["rows"];
  CHECK(metrics.size() == 13);
  for (const json& metric : metrics) {
    CHECK(std::abs(number(metric, "rho")) <= 1);
    CHECK(number(metric, "p_value") > 0);
    CHECK(metric["pairs"] == 16);
  }
  const double p = number(metrics.front(), "p_value");
  const double best = number(heads["summary"], "best_metric_p");
  CHECK(best >= p);  // the best of 13 has to be better than one alone
  CHECK(best < 1);
  if (best < 0.05)
    CHECK(heads["summary"]["best_metric"] == metrics.front()["metric"]);
  else
    CHECK(heads["summary"]["best_metric"].is_null());

  const json layers = prune({"--sweep", "layers", "--layers", "1-3"});
  CHECK(layers["tables"]["prune_sweep"]["rows"].size() == 3);
  // Three pairs have six pairings, of which two are at least as strong.
  CHECK(layers["summary"]["best_metric"].is_null());
  CHECK(number(layers["summary"], "best_metric_p") >= 1.0 / 3);
  CHECK(holds(layers["nulls"].dump(), "none with p < 0.05"));
  const json channels = prune({"--sweep", "channels", "--channel-block", "8", "--layers", "0"});
  CHECK(channels["tables"]["prune_sweep"]["rows"].size() == 4);
  const json block =
      row(channels, "prune_sweep", {{"side", "values"}, {"first_channel", 8}, {"last_channel", 15}});
  CHECK(block["kl"] == variant(prune({"--layers", "0", "--channels", "8-15", "--sides", "values"}),
                               "channels:8-15:values/layers:0")["kl"]);
  const test::TemporaryFolder folder;
  const json of_prefix =
      test::result_of({"prune", "--no-timings", "--samples", "0", "--sweep", "heads"}, folder.path());
  const json analysed = test::result_of({"analyze", "--wikitext-index", "0", "--use-wikitext", "--seq-len",
                                         "256", "--focus", "heads,attention"},
                                        folder.path());
  const json measured = row(of_prefix, "prune_sweep", {{"layer", 1}, {"head", 2}});
  const json expected = row(analysed, "heads", {{"layer", 1}, {"head", 2}});
  CHECK(number(measured, "key_effective_rank") == doctest::Approx(number(expected, "k_effective_rank")));
  CHECK(number(measured, "value_mean_abs") == doctest::Approx(number(expected, "v_mean_abs")));
}

TEST_CASE("[prune] the same bytes twice, on any number of threads; gates") {
  const test::TemporaryFolder folder;
  const auto run = [&](const char* threads) {
    return run_kvviz({"--threads", threads, "prune", "--samples", "0", "--tokens", "0-3", "--threshold", "2",
                      "--no-timings", "--json", "-", "--no-plots"},
                     folder.path());
  };
  const auto first = run("2");
  REQUIRE_MESSAGE(first.code == 0, first.err);
  CHECK(run("2").out == first.out);
  json one = json::parse(first.out), three = json::parse(run("3").out);
  one.erase("provenance");
  three.erase("provenance");
  CHECK(one == three);
  const auto gate = run_kvviz({"prune", "--samples", "0", "--tokens", "0-3", "--no-timings", "--no-plots",
                               "--fail-if", "prune.tokens:0-3.kl>0"},
                              folder.path());
  CHECK(gate.code == 4);
}

TEST_CASE("[prune] the command line's mistakes") {
  CHECK(holds(refused({}), "e.g. kvviz prune --tokens 0-3"));
  CHECK(holds(refused({"--layers", "4"}), "4 layers, 0 to 3"));
  CHECK(holds(refused({"--heads", "4"}), "4 KV heads, 0 to 3"));
  CHECK(holds(refused({"--query-heads", "8"}), "8 query heads, 0 to 7"));
  CHECK(holds(refused({"--channels", "12-16"}), "16 channels, 0 to 15"));
  CHECK(holds(refused({"--tokens", "256"}), "256 tokens in the prefix, 0 to 255"));
  CHECK(holds(refused({"--tokens", "ids.txt"}), "--token-ids"));
  CHECK(holds(refused({"--tokens", "3-1"}), "a range such as 0-3"));
  CHECK(holds(refused({"--tokens", "3,2-4"}), "twice"));
  CHECK(holds(refused({"--heads", "1", "--query-heads", "2"}), "a KV head is gone when"));
  CHECK(holds(refused({"--tokens", "1", "--sides", "keys"}), "--sides keys"));
  for (const char* percent : {"0", "100.5", "-1", "nan"})
    CHECK(holds(refused({"--threshold", percent}), "above 0, up to 100"));
  CHECK(holds(refused({"--sweep", "heads", "--tokens", "1"}), "--layers alone"));
  CHECK(holds(refused({"--sweep", "heads", "--channel-block", "2"}), "--sweep channels"));
  CHECK(holds(refused({"--sweep", "channels", "--channel-block", "17"}), "16 channels"));
  CHECK(holds(refused({"--sweep", "layers", "--layers", "7"}), "0 to 3"));
  CHECK(holds(refused({"--prune-method", "head", "--layers", "1"}), "give --heads"));
  CHECK(holds(refused({"--prune-method", "layer", "--layers", "1", "--tokens", "1"}), "nothing else"));
  CHECK(holds(refused({"--tokens", "1", "--token-ids", "a", "--prompt", "b"}), "give one text"));
  CHECK(holds(refused({"--tokens", "1", "--continuation", "b", "--windows", "2"}), "as a whole"));
  CHECK(holds(refused({"--tokens", "1", "--no-timings", "--decode-steps", "3"}), "no effect"));
  CHECK(holds(refused({"--tokens", "1", "--windows", "200"}), "at most 128"));
  CHECK(holds(refused({"--tokens", "1", "--prefix-tokens", "511"}), "leaves nothing to predict"));
}
