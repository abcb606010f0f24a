// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "cli/batch_runs.hpp"
#include "cli/process.hpp"
#include "cli/results.hpp"
#include "kvviz/core/atomic_file.hpp"
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

using Words = std::vector<std::string>;

void run(Words arguments, const fs::path& folder) {
  arguments.push_back("--no-plots");
  const auto done = run_kvviz(arguments, folder);
  REQUIRE_MESSAGE(done.code == 0, done.err);
}

json result_in(const fs::path& folder, const char* command) {
  return json::parse(read_file(folder / "results" / (std::string(command) + ".json")));
}

/// The rows of a table with this value.
std::vector<json> rows_with(const json& result, const char* table, const char* column, const json& value) {
  std::vector<json> rows;
  for (const json& one : result.at("tables").at(table).at("rows"))
    if (one.at(column) == value) rows.push_back(one);
  return rows;
}

/// What texts say one by one is what they say together: losses weighted by their predictions.
void check_texts_add_up(const std::vector<json>& texts, const json& together) {
  double predictions = 0;
  for (const json& text : texts) predictions += number(text, "predictions");
  CHECK(predictions == number(together, "predictions"));
  for (const char* column : {"nll", "delta_nll", "kl", "top1_agreement"}) {
    double sum = 0;
    for (const json& text : texts) sum += number(text, "predictions") * number(text, column);
    CHECK_MESSAGE(sum / predictions == doctest::Approx(number(together, column)).epsilon(1e-9), column);
  }
}

}  // namespace

TEST_CASE("[batch] compress: workers, shards, merge and resume give the same bytes") {
  test::check_batch({"compress", "--samples", "0-4", "--seq-len", "120", "--methods",
                     "kivi:4,svd:0.5,h2o:0.5 + q8_0,xkv:0.5", "--windows", "2", "--kivi-table", "2",
                     "--no-timings"});
  test::check_batch({"compress", "--samples", "0-2", "--seq-len", "90", "--method", "rtn_token:4",
                     "--streaming", "--no-timings"});
}

TEST_CASE("[batch] long texts: sums over many elements do not depend on the number of threads") {
  test::check_batch({"compress", "--samples", "0-2", "--seq-len", "1000", "--prefix-tokens", "800",
                     "--methods", "q4_0,tucker:0.5", "--kivi-table", "2", "--no-timings"});
  test::check_batch({"prune", "--samples", "0-2", "--seq-len", "1000", "--prefix-tokens", "800",
                     "--threshold", "1", "--no-timings"});
}

TEST_CASE("[batch] prune: removals, sweeps and continuations") {
  test::check_batch({"prune", "--samples", "0-4", "--seq-len", "120", "--tokens", "0-3", "--threshold", "2",
                     "--no-timings"});
  test::check_batch({"prune", "--samples", "0-2", "--seq-len", "100", "--sweep", "heads"});
  test::check_batch({"prune", "--samples", "0-2", "--seq-len", "60", "--layers", "1", "--no-timings",
                     "--continuation", "It was a quiet day and the water was still."});
}

TEST_CASE("[batch] tucker: sums, components and both bases of the keys") {
  test::check_batch({"tucker", "--samples", "0-4", "--seq-len", "100", "--windows", "2"});
  test::check_batch({"tucker", "--samples", "0-2", "--seq-len", "64", "--sweep"});
}

TEST_CASE("[batch] compress, prune, tucker: a text that fails is named, and the rest goes on") {
  test::check_failing_text({"compress", "--methods", "q8_0", "--no-timings"});
  test::check_failing_text({"prune", "--layers", "1", "--no-timings"});
  test::check_failing_text({"tucker", "--no-sensitivity"});
}

TEST_CASE("[batch] prune: a metric that one text is too short for is the mean of the others") {
  const test::TemporaryFolder folder;
  const std::string sentence = "The lamp was lit , and the old keeper went up the stairs . ";
  std::ofstream(folder / "texts") << "Go on .\n" << sentence << sentence << sentence << '\n';
  const json result =
      test::result_of({"prune", "--sweep", "heads", "--prompts", "texts", "--no-timings"}, folder.path());
  CHECK(result["summary"]["texts"] == 2);
  for (const json& one : result["tables"]["prune_sweep"]["rows"]) CHECK(one["cka_excess"].is_number());
}

TEST_CASE("[batch] options that ask too much of one text make it fail, of every text are refused") {
  const test::TemporaryFolder folder;
  const std::string sentence = "The lamp was lit , and the old keeper went up the stairs . ";
  std::ofstream(folder / "texts") << sentence << '\n' << sentence << sentence << sentence << sentence << '\n';
  const auto failed = [&](Words arguments) {
    arguments.insert(arguments.end(), {"--prompts", "texts", "--no-timings"});
    const json result = test::result_of(arguments, folder.path());
    CHECK(result["summary"]["texts"] == 1);
    CHECK(result["summary"]["texts_failed"] == 1);
    return row(result, "failed_texts", {{"text", 0}})["reason"].get<std::string>();
  };
  CHECK(
      holds(failed({"compress", "--method", "q8_0", "--prefix-tokens", "40"}), "leaves nothing to predict"));
  CHECK(holds(failed({"prune", "--tokens", "0,25"}), "tokens in the prefix"));
  const auto refused = [&](Words arguments) {
    arguments.insert(arguments.end(), {"--prompts", (folder / "texts").string()});
    return test::refused(arguments, 2);
  };
  CHECK(holds(refused({"prune", "--tokens", "500"}), "tokens in the prefix, 0 to"));
  CHECK(holds(refused({"compress", "--windows", "500"}), "--windows 500"));
  CHECK(holds(refused({"tucker", "--prefix-tokens", "500"}), "--prefix-tokens 500"));
  CHECK(holds(test::refused({"compress", "--shard", "0/2", "--recommend", "1"}, 2), "cannot be shared out"));
}

TEST_CASE("[batch] each text's loss: together they are that of all; one text alone has its blocks") {
  const test::TemporaryFolder folder;
  const json compress = test::result_of({"compress", "--samples", "0-2", "--seq-len", "200", "--methods",
                                         "kivi:2,window:0.5", "--windows", "2", "--no-timings"},
                                        folder.path());
  for (const char* method : {"kivi:2", "window:0.5"}) {
    const auto texts = rows_with(compress, "compress_texts", "method", method);
    REQUIRE(texts.size() == 3);
    check_texts_add_up(texts, row(compress, "compress", {{"method", method}}));
    CHECK(texts[2]["text"] == 2);
    CHECK(texts[2]["tokens"] == 200);
  }
  const json prune =
      test::result_of({"prune", "--samples", "3", "--tokens", "0-3", "--no-timings"}, folder.path());
  const json whole = row(prune, "prune", {{"removed", "tokens:0-3"}});
  const json text = row(prune, "prune_texts", {{"removed", "tokens:0-3"}});
  for (const char* same :
       {"nll", "delta_nll", "delta_nll_se", "delta_ppl_percent", "kl", "top1_agreement", "bytes_per_token"})
    CHECK_MESSAGE(number(text, same) == doctest::Approx(number(whole, same)).epsilon(1e-12), same);
  const json tucker =
      test::result_of({"tucker", "--samples", "0-1", "--seq-len", "150", "--no-sensitivity"}, folder.path());
  for (const char* family : {"tucker", "tucker_best", "svd"})
    check_texts_add_up(rows_with(tucker, "tucker_texts", "family", family),
                       row(tucker, "tucker", {{"family", family}}));
}

TEST_CASE("[batch] a text alone, among others, and of a shard gives the same numbers") {
  const test::TemporaryFolder folder;
  const Words options{"compress", "--methods", "q4_0,snapkv:0.5", "--seq-len", "150", "--no-timings"};
  const auto loss = [&](const char* samples, int text) {
    Words arguments = options;
    arguments.insert(arguments.end(), {"--samples", samples});
    const json result = test::result_of(arguments, folder.path());
    return row(result, "compress_texts", {{"text", text}, {"method", "snapkv:0.5"}})["kl"];
  };
  const json alone = loss("3", 0);
  CHECK(loss("2-3", 1) == alone);
  CHECK(loss("0-5", 3) == alone);
}

TEST_CASE("[batch] seconds and decoded tokens come with the records") {
  const test::TemporaryFolder folder;
  const Words prune{"prune", "--samples",      "0-1", "--seq-len", "100", "--tokens",
                    "4-30",  "--decode-steps", "5"};
  const auto shard = [&](Words arguments, const char* which) {
    arguments.insert(arguments.end(), {"--shard", which});
    run(arguments, folder.path());
  };
  shard(prune, "1/2");
  shard(prune, "0/2");
  run({"merge", "results"}, folder.path());
  const json pruned = row(result_in(folder.path(), "prune"), "prune", {{"removed", "tokens:4-30"}});
  CHECK(pruned["decode_steps"] == 5);
  CHECK(number(pruned, "decode_ms") > 0);
  CHECK(number(pruned, "full_store_bytes") == 50 * 4 * 4 * 2 * 16 * 4);
  const Words compress{"compress", "--samples", "0-1", "--seq-len", "100", "--methods", "q8_0", "--out", "c"};
  shard(compress, "1/2");
  shard(compress, "0/2");
  run({"merge", "c", "--out", "c"}, folder.path());
  CHECK(number(row(result_in(folder / "c", "compress"), "compress", {{"method", "q8_0"}}), "code_seconds") >
        0);
}

TEST_CASE("[batch] a continuation behind prompts of different lengths: each is a prefix as a whole") {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "texts") << "The lamp was lit .\nThe lamp was lit , and the old keeper went up .\n";
  const auto pruned = [&](Words arguments) {
    arguments.insert(arguments.begin(), {"prune", "--layers", "1", "--no-timings", "--continuation",
                                         "It was a quiet day and the water was still."});
    return test::result_of(arguments, folder.path());
  };
  const json both = pruned({"--prompts", "texts"});
  const json first = pruned({"--prompt", "The lamp was lit ."});
  const json second = pruned({"--prompt", "The lamp was lit , and the old keeper went up ."});
  CHECK(number(both["summary"], "prefix") ==
        (number(first["summary"], "prefix") + number(second["summary"], "prefix")) / 2);
  CHECK(number(both["summary"], "tokens") ==
        number(first["summary"], "tokens") + number(second["summary"], "tokens"));
  CHECK(row(both, "prune_texts", {{"text", 1}, {"removed", "layers:1"}})["nll"] ==
        row(second, "prune_texts", {{"text", 0}, {"removed", "layers:1"}})["nll"]);
  CHECK(both["provenance"]["options"]["continuation"] == "It was a quiet day and the water was still.");
}
