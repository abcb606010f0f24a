// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdlib>
#include <set>
#include <sstream>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/kernels/bf16_product.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/tensor/runtime.hpp"
#include "parity.hpp"
#include "support/errors.hpp"
#include "support/fixture.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

// The bound for f32 against transformers; the fixtures themselves are within 3.1e-6 of a float64
// forward.
constexpr double tolerance = 2e-5;

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";

// Rows of a table without their last four cells, the measured numbers.
std::vector<std::string> rows_of(const std::string& table) {
  std::vector<std::string> rows;
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    size_t end = line.size();
    for (int bar = 0; bar < 5 && end != std::string::npos; ++bar) end = line.rfind('|', end - 1);
    if (line.starts_with("| ") && end != std::string::npos) rows.push_back(line.substr(0, end));
  }
  return rows;
}

}  // namespace

TEST_CASE("[model] every fixture is in the manifest") {
  std::set<std::string> folders, listed;
  for (const auto& entry : fs::directory_iterator(models))
    if (entry.is_directory()) folders.insert(entry.path().filename());
  for (const test::ModelFixture& fixture : test::model_fixtures()) listed.insert(fixture.name);
  CHECK(folders == listed);
  CHECK(listed.size() >= 17);
}

TEST_CASE("[model] prefill and decoding agree with transformers, and docs/models.md says so") {
  const auto fixtures = test::model_fixtures();
  std::vector<test::Parity> measured;
  for (const test::ModelFixture& fixture : fixtures) {
    CAPTURE(fixture.name);
    test::Parity& parity = measured.emplace_back();
    CHECK_NOTHROW(parity = test::measure_parity(fixture));
    for (const double x :
         {parity.logits, parity.keys_values, parity.attention, parity.layer_out, parity.steps})
      CHECK(x <= tolerance);
  }
  const std::string table = test::parity_table(fixtures, measured);
  // scripts/parity_table puts it into docs/models.md.
  if (const char* file = std::getenv("KVVIZ_PARITY_TABLE")) write_file(file, table);
  const std::string docs = read_file(fs::path(KVVIZ_DOCS) / "models.md");
  const size_t begin = docs.find("| family | checkpoint |");
  REQUIRE(begin != std::string::npos);
  CHECK(rows_of(docs.substr(begin, docs.find("\n\n", begin) - begin)) == rows_of(table));
  const std::string readme = read_file(fs::path(KVVIZ_DOCS) / ".." / "README.md");
  CHECK(test::holds(readme, cat("| ", fixtures.size(), " tiny random checkpoints")));
}

TEST_CASE("[model] CUDA or MPS, where there is one, agrees with transformers too") {
  const at::Device device = device_of("auto");
  if (device.is_cpu()) {
    MESSAGE("this libtorch or machine has no device beside the CPU: nothing is compared");
    return;
  }
  for (const test::ModelFixture& fixture : test::model_fixtures()) {
    CAPTURE(fixture.name);
    const test::Parity parity = test::measure_parity(fixture, device);
    for (const double x :
         {parity.logits, parity.keys_values, parity.attention, parity.layer_out, parity.steps})
      CHECK(x <= tolerance);
  }
}

TEST_CASE("[model] scores agree with the log-softmax of transformers' logits") {
  const LoadedModel model = load_model(models / "llama_gqa");
  const test::Expected expected(models / "llama_gqa" / "expected.safetensors");
  const auto ids = expected.ids();
  Session session(model.decoder);
  const TokenScores scores = score(model.decoder, session.extend(ids), ids);
  const at::Tensor logp = expected.tensor("logits").to(at::kDouble).log_softmax(-1);
  REQUIRE(scores.nll.size() == ids.size() - 1);
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    CHECK(scores.nll[i] ==
          doctest::Approx(-logp[static_cast<int64_t>(i)][ids[i + 1]].item<double>()).epsilon(1e-4));
    CHECK(scores.top1[i] == (logp[static_cast<int64_t>(i)].argmax().item<int64_t>() == ids[i + 1]));
  }
}

TEST_CASE("[model] stories260K, a trained model, agrees with llama2.c" * doctest::test_suite("refdata")) {
  const fs::path folder = fs::path(KVVIZ_REFDATA) / "stories260K-hf";
  REQUIRE(fs::exists(folder));
  const LoadedModel model = load_model(folder);
  const test::Expected golden(folder / "golden_greedy96.safetensors");
  const auto ids = golden.ids();
  Session session(model.decoder);
  const at::Tensor hidden = session.extend(ids);
  test::check_near(model.decoder.logits(hidden), golden.tensor("logits"), tolerance);
  const KvCache cache = session.cache(static_cast<int64_t>(ids.size()));
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    test::check_near(cache.layers[l].key, golden.tensor(cat("k.", l)), tolerance);
    test::check_near(cache.layers[l].value, golden.tensor(cat("v.", l)), tolerance);
  }
  // The text was decoded greedily, so each token is the most likely one after its prefix.
  const at::Tensor best = model.decoder.logits(hidden).argmax(-1);
  for (size_t i = 1; i < ids.size(); ++i) CHECK(best[static_cast<int64_t>(i) - 1].item<int64_t>() == ids[i]);
}

TEST_CASE("[model] f16 and bf16 matrices: stored weights kept as they are give what the widened ones give") {
  for (const auto& [name, type] :
       {std::pair("llama_f16", at::kHalf), std::pair("llama_bf16", at::kBFloat16)}) {
    CAPTURE(name);
    const LoadedModel model = load_model(models / name, {.matrices = type});
    CHECK((model.decoder.weights().layers[0].query.weight.scalar_type() == type));
    CHECK((model.decoder.weights().layers[0].attention_norm.weight.scalar_type() == at::kFloat));
    const test::Expected expected(models / name / "expected.safetensors");
    const auto ids = expected.ids();
    const at::Tensor logits = expected.tensor("logits");
    Session steps(model.decoder), whole(model.decoder);
    for (size_t i = 0; i < ids.size(); ++i)
      test::check_near(model.decoder.logits(steps.extend(std::span(ids).subspan(i, 1)))[0],
                       logits[static_cast<int64_t>(i)], tolerance);
    // Many rows of bf16 are rounded themselves where the processor multiplies bf16.
    const bool rounded = type == at::kBFloat16 && kernels::bf16_products();
    test::check_near(model.decoder.logits(whole.extend(ids)), logits, rounded ? 3e-2 : tolerance);
  }
}

TEST_CASE("[model] f32 weights in bf16 and f16: close, and not the same") {
  const test::Expected expected(models / "qwen2" / "expected.safetensors");
  const auto ids = expected.ids();
  for (const auto& [type, most] : {std::pair(at::kHalf, 5e-3), std::pair(at::kBFloat16, 5e-2)}) {
    const LoadedModel model = load_model(models / "qwen2", {.matrices = type});
    CHECK(model.dtype == dtype_name(type));
    CHECK(model.stored_dtype == "f32");
    Session session(model.decoder);
    const double difference =
        test::deviation(model.decoder.logits(session.extend(ids)), expected.tensor("logits"));
    CHECK(difference < most);
    CHECK(difference > most / 500);
  }
}
