// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>

#include "cli/process.hpp"
#include "cli/results.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/result_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using nlohmann::json;
using test::holds;
using test::number;
using test::row;
namespace fs = std::filesystem;

namespace {

json generate(std::vector<std::string> arguments, const fs::path& folder) {
  arguments.insert(arguments.begin(), {"analyze_generation", "--no-timings"});
  return test::result_of(arguments, folder);
}

std::string refused(std::vector<std::string> arguments, int code = 2) {
  arguments.insert(arguments.begin(), "analyze_generation");
  return test::refused(arguments, code);
}

json steps(const json& result) {
  return result["tables"]["generation_steps"]["rows"];
}

}  // namespace

TEST_CASE("[analyze_generation] four stages, each as long as it says, and every token in the text") {
  const test::TemporaryFolder folder;
  const json result = generate({"--seq-len", "100", "--generate", "20"}, folder.path());
  const int64_t lengths[] = {100, 104, 110, 120};
  const char* const names[] = {"prefill", "early", "mid", "late"};
  for (int i = 0; i < 4; ++i) {
    const json stage = row(result, "generation", {{"stage", names[i]}});
    CHECK(stage["tokens"] == lengths[i]);
    CHECK(stage["bytes"] == 1024 * lengths[i]);  // f16
    CHECK(number(stage, "k_gini") > 0);
    CHECK(stage["v_participation_ratio_new"].is_null() == (i == 0));
    CHECK(stage["k_rms_new"].is_null() == (i == 0));
    CHECK(stage["k_rms_prompt"] == row(result, "generation", {{"stage", "prefill"}})["k_rms_prompt"]);
  }
  REQUIRE(steps(result).size() == 20);
  std::string text;
  for (const json& step : steps(result)) {
    text += step["text"].get<std::string>();
    CHECK(number(step, "attention_first") + number(step, "attention_prompt") +
              number(step, "attention_generated") + number(step, "attention_self") ==
          doctest::Approx(1).epsilon(1e-4));
    CHECK(step["seconds"].is_null());
  }
  CHECK(number(steps(result)[0], "attention_generated") == 0);
  CHECK(number(steps(result)[0], "uniform_prompt") == doctest::Approx(99.0 / 101));
  CHECK(text.find(result["summary"]["text"].get<std::string>()) != std::string::npos);
  const auto shares = io::read_array(folder.path() / "results/analyze_generation.h5", "generation/attention");
  CHECK(shares.shape == std::vector<int64_t>{20, 4, 8, 4});
}

TEST_CASE("[analyze_generation] stages anywhere; the text and its end do not depend on them") {
  const test::TemporaryFolder folder;
  const std::vector<std::string> text{"--seq-len", "60", "--generate", "10"};
  const json plain = generate(text, folder.path());
  auto arguments = text;
  arguments.insert(arguments.end(), {"--stages", "0.1,0.29,0.5"});
  const json result = generate(arguments, folder.path());
  const json rows = result["tables"]["generation"]["rows"];
  REQUIRE(rows.size() == 4);
  const char* const names[] = {"prefill", "0.1", "0.29", "0.5"};
  const int64_t generated[] = {0, 1, 2, 5};
  for (size_t i = 0; i < 4; ++i) {
    CHECK(rows[i]["stage"] == names[i]);
    CHECK(rows[i]["tokens"] == 60 + generated[i]);
  }
  CHECK(rows[3]["k_gini_new"] == row(plain, "generation", {{"stage", "mid"}})["k_gini_new"]);
  CHECK(result["summary"] == plain["summary"]);
  CHECK(result["tables"]["generation_layers"] == plain["tables"]["generation_layers"]);
  CHECK(result["provenance"]["options"]["stages"] == json({0.1, 0.29, 0.5}));
}

TEST_CASE("[analyze_generation] greedy text is the same in one go and in two") {
  const test::TemporaryFolder folder;
  const json whole = generate({"--seq-len", "60", "--generate", "12"}, folder.path());
  const json half = generate({"--seq-len", "60", "--generate", "6"}, folder.path());
  for (size_t i = 0; i < 6; ++i) CHECK(steps(whole)[i]["id"] == steps(half)[i]["id"]);
  std::string ids;
  const json stages = test::result_of(
      {"simulate", "--samples", "0", "--policies", "window", "--seq-len", "60", "--generate", "12"},
      folder.path());
  CHECK(row(stages, "generated", {{"policy", "full"}})["text"] == whole["summary"]["text"]);
}

TEST_CASE("[analyze_generation] drawn text follows its seed, and equal runs give equal bytes") {
  const test::TemporaryFolder folder;
  const std::vector<std::string> drawn{"--seq-len", "60", "--generate", "16", "--temperature", "1", "--seed"};
  const auto with = [&](const char* seed) {
    auto arguments = drawn;
    arguments.push_back(seed);
    return generate(arguments, folder.path());
  };
  const json a = with("3");
  const std::string bytes = read_file(folder.path() / "results/analyze_generation.json");
  CHECK(with("3")["summary"]["text"] == a["summary"]["text"]);
  CHECK(read_file(folder.path() / "results/analyze_generation.json") == bytes);
  CHECK(with("4")["summary"]["text"] != a["summary"]["text"]);
  auto one = drawn;
  one.insert(one.end(), {"9", "--top-k", "1"});
  CHECK(generate(one, folder.path())["summary"]["text"] ==
        generate({"--seq-len", "60", "--generate", "16"}, folder.path())["summary"]["text"]);
}

TEST_CASE("[analyze_generation] eviction: the whole cache changes nothing, a small one parts from it") {
  const test::TemporaryFolder folder;
  const json result =
      generate({"--seq-len", "200", "--generate", "24", "--policy", "h2o,window", "--budget", "1.0,16"},
               folder.path());
  const json full = row(result, "generated", {{"policy", "full"}});
  const json same = row(result, "generated", {{"policy", "h2o"}, {"budget", "1.0"}});
  CHECK(same["equal"] == 24);
  CHECK(same["text"] == full["text"]);
  CHECK(same["bytes"] == full["bytes"]);
  CHECK(same["token_full"].is_null());
  const json small = row(result, "generated", {{"policy", "window"}, {"budget", "16"}});
  const auto equal = small["equal"].get<size_t>();
  REQUIRE(equal < 24);
  CHECK(small["bytes"] == 16 * 1024);
  CHECK(small["token_full"] == steps(result)[equal]["text"]);
  CHECK(small["token_evicted"] != small["token_full"]);
  CHECK(number(small, "p_full") == number(steps(result)[equal], "probability"));
  CHECK(number(small, "p_evicted") < number(small, "p_full"));
  CHECK(result["tables"]["generated"]["rows"].size() == 5);
}

TEST_CASE("[analyze_generation] what a policy's cache holds, token by token") {
  const test::TemporaryFolder folder;
  const json result = generate({"--seq-len", "10", "--generate", "12", "--policy", "window,h2o,h2o:mask",
                                "--budget", "16", "--ignore-eos"},
                               folder.path());
  CHECK(result["tables"]["generated_steps"]["rows"].size() == 3 * 13);
  for (int step = 0; step <= 12; ++step) {
    const auto at = [&](const char* policy) {
      return row(result, "generated_steps", {{"policy", policy}, {"budget", "16"}, {"step", step}});
    };
    const int held = std::min(10 + step, 16);
    CHECK(at("window")["entries"] == held);
    CHECK(at("window")["bytes"] == 1024 * held);
    CHECK(at("window")["metadata_bytes"] == 0);
    CHECK(at("window")["full_bytes"] == 1024 * (10 + step));
    // 4 layers of 4 KV heads: of each key the position (4 bytes) and a score (8).
    CHECK(at("h2o")["bytes"] == 1024 * held);
    CHECK(at("h2o")["metadata_bytes"] == 4 * 4 * 12 * held);
    CHECK(at("h2o:mask")["entries"] == held);
    CHECK(at("h2o:mask")["bytes"] == 1024 * (10 + step));
    CHECK(at("window")["text"].is_null() == (step == 0));
  }
  const json end = row(result, "generated", {{"policy", "h2o"}, {"budget", "16"}});
  CHECK(end["metadata_bytes"] == 4 * 4 * 12 * 16);
  const json apart = generate({"--seq-len", "10", "--generate", "12", "--policy", "window", "--budget", "16",
                               "--per-query-head", "--ignore-eos"},
                              folder.path());
  // 8 query heads with keys of their own, of 4 KV heads.
  CHECK(row(apart, "generated", {{"policy", "window"}, {"budget", "16"}})["bytes"] == 2 * 1024 * 16);
}

TEST_CASE("[analyze_generation] a text that grows past longrope's first context says so") {
  const test::TemporaryFolder folder;
  const auto model = fs::path(KVVIZ_FIXTURES) / "models" / "phi3_longrope";  // 32 tokens at first
  write_file(folder.path() / "ids",
             "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28");
  const auto told = [&](const char* tokens) {
    return test::run_kvviz(
               {"analyze_generation", "--model", model.string(), "--tokens", (folder.path() / "ids").string(),
                "--ignore-eos", "--no-plots", "--generate", tokens},
               folder.path())
        .err;
  };
  CHECK(holds(told("8"), "grows past the model's first context of 32 tokens"));
  CHECK_FALSE(holds(told("4"), "first context"));
}

TEST_CASE("[analyze_generation] speed is measured unless it is not wanted") {
  const test::TemporaryFolder folder;
  const json result =
      test::result_of({"analyze_generation", "--seq-len", "20", "--generate", "4"}, folder.path());
  CHECK(number(result["summary"], "tokens_per_second") > 0);
  for (const json& step : steps(result)) CHECK(number(step, "tokens_per_second") > 0);
}

TEST_CASE("[analyze_generation] what cannot be done is refused with its reason") {
  CHECK(holds(refused({"--seq-len", "1000"}), "exceed the model's context of 1024 by 40"));
  CHECK(holds(refused({"--generate", "1024"}), "leaves no room"));
  CHECK(holds(refused({"--stages", "0.5,0.2"}), "got 0.2 after 0.5; expected rising"));
  CHECK(holds(refused({"--stages", "0.5,1.5"}), "got 1.5; expected fractions"));
  CHECK(holds(refused({"--stages", "0"}), "above 0"));
  refused({"--stages", ""});
  refused({"--stages", "half"});
  CHECK(holds(refused({"--policy", "oracle"}), "oracle reads the future"));
  CHECK(holds(refused({"--policy", "full"}), "always there"));
  CHECK(holds(refused({"--policy", "nonsense"}), "is no policy"));
  CHECK(holds(refused({"--budget", "0.5"}), "without --policy"));
  CHECK(holds(refused({"--sinks", "2"}), "without --policy"));
  CHECK(holds(refused({"--prefill", "full"}), "without --policy"));
  CHECK(holds(refused({"--top-k", "5"}), "--temperature 0"));
  CHECK(holds(refused({"--seed", "5"}), "--temperature 0"));
  CHECK(holds(refused({"--temperature", "-1"}), "0 or more"));
  CHECK(holds(refused({"--temperature", "1", "--top-p", "0"}), "above 0"));
  CHECK(holds(refused({"--temperature", "1", "--top-p", "2"}), "at most 1"));
  CHECK(holds(refused({"--policy", "streaming_llm", "--budget", "2", "--sinks", "4"}), "4 sinks do not fit"));
  CHECK(holds(refused({"--prompt", "a", "--use-wikitext"}), "give one text"));
  refused({"--generate", "0"});
}
