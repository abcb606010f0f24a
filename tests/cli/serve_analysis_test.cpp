// SPDX-License-Identifier: MIT
// The routes of `kvviz serve` about architecture, attention and cache: their numbers are those of the
// commands.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/results.hpp"
#include "cli/serving.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/result_file.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using nlohmann::json;
using test::Answer;
using test::holds;
using test::Matrices;
using test::matrices_in;
using test::Serving;
namespace fs = std::filesystem;

namespace {

const std::string text =
    "The lighthouse keeper climbed the narrow stairs every evening, lit the lamp and wrote the time into his "
    "book. In winter the storms were long, and nobody came for weeks.";

json card_of(const std::string& model, const fs::path& folder) {
  const auto run = test::run_kvviz({"models", "info", model, "--memory", "80GiB", "--lengths",
                                    "512,1024,2048,4096,8192,16384,32768,65536,131072", "--json", "-"},
                                   folder);
  REQUIRE_MESSAGE(run.code == 0, run.err);
  return json::parse(run.out);
}

bool close(double got, double want, double tolerance = 1e-6) {
  return std::abs(got - want) <= tolerance * std::max(1.0, std::abs(want));
}

/// The weights [heads, n, n] of a layer on a text that is not pooled, in the order of the message.
struct Weights {
  int64_t heads = 0, tokens = 0;
  std::vector<double> values;
  double at(int64_t head, int64_t query, int64_t key) const {
    return values[static_cast<size_t>((head * tokens + query) * tokens + key)];
  }
};

Weights weights_of(const Matrices& m) {
  const auto& shape = m.shapes.at("attention");
  return {shape[0], shape[1], m.arrays.at("attention")};
}

/// Each of the demo model's layers is told of as it is done.
void check_progress(const Matrices& m) {
  int done = 0;
  for (const json& progress : m.progress)
    if (progress["what"] == "reading the text, layer by layer")
      CHECK(progress == json{{"what", "reading the text, layer by layer"}, {"done", ++done}, {"total", 4}});
  CHECK(done == 4);
}

/// What /api/attention/layers says of a layer, from the weights themselves.
json summary_of(const Weights& w) {
  double entropy = 0, small = 0, top = 0, first = 0;
  std::vector<double> mass(static_cast<size_t>(w.tokens)), own(mass.size());
  const auto count = static_cast<double>(w.heads * w.tokens), heads = static_cast<double>(w.heads);
  for (int64_t h = 0; h < w.heads; ++h)
    for (int64_t q = 0; q < w.tokens; ++q) {
      std::vector<double> row;
      for (int64_t k = 0; k <= q; ++k) row.push_back(w.at(h, q, k));
      for (size_t k = 0; k < row.size(); ++k) mass[k] += row[k] / heads;
      own[row.size() - 1] += row.back() / heads;
      for (size_t k = 0; k < std::min<size_t>(row.size(), 4); ++k) first += row[k] / count;
      std::ranges::sort(row, std::ranges::greater{});
      double few = 0;
      for (const double weight : row) {
        entropy -= weight > 0 ? weight * std::log(weight) / count : 0;
        few += weight < 0.01 * row.front() ? 1 : 0;
      }
      small += few / static_cast<double>(row.size()) / count;
      top += std::accumulate(row.begin(), row.begin() + std::min<std::ptrdiff_t>(std::ssize(row), 5), 0.0) /
             count;
    }
  std::vector<int64_t> sinks, heavy;
  for (int64_t k = 0; k < w.tokens; ++k) {
    const auto at = static_cast<size_t>(k);
    const auto behind = static_cast<double>(w.tokens - 1 - k);
    if (k < 16 && mass[at] / (behind + 1) > 0.10)
      sinks.push_back(k);
    else if (behind >= 4 && (mass[at] - own[at]) / behind > 0.05)
      heavy.push_back(k);
  }
  return {{"entropy", entropy},  {"small_share", small}, {"top5_mass", top},
          {"first_mass", first}, {"sinks", sinks},       {"heavy", heavy}};
}

void check_same(const json& got, const json& want, double tolerance) {
  for (const auto& [name, value] : want.items()) {
    CAPTURE(name);
    if (value.is_array())
      CHECK(got.at(name) == value);
    else
      CHECK(close(got.at(name), value, tolerance));
  }
}

std::vector<double> array_of(const fs::path& file, const std::string& name) {
  const auto array = io::read_array(file, name);
  return std::visit([](const auto& values) { return std::vector<double>(values.begin(), values.end()); },
                    array.values);
}

void check_refused(const Answer& answer, int status, const std::string& words) {
  CHECK_MESSAGE(answer.status == status, answer.body.substr(0, 200));
  CHECK_MESSAGE(holds(answer.message(), words), answer.body);
}

void check_architecture(const json& got, const json& card, const json& config) {
  for (const json& fact : got.at("facts")) {
    const std::string key = fact.at("key");
    CAPTURE(key);
    const json& about = card["summary_about"].at(key);
    CHECK(fact["unit"] == about["unit"]);
    if (key == "free_bytes") continue;  // changes while nobody looks
    CHECK(fact["value"] == card["summary"].at(key));
    CHECK(fact["label"] == about["label"]);
  }
  CHECK(got["facts"].size() == card["summary"].size());
  const json& tables = card["tables"];
  const auto& shapes = tables["model_layers"]["rows"];
  REQUIRE(got["layers"].size() == shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    const json& layer = got["layers"][i];
    const int64_t first = layer["first"], last = first + layer["count"].get<int64_t>() - 1;
    CHECK(shapes[i]["layers"] == (first == last ? cat(first) : cat(first, '-', last)));
    CHECK(layer["query_heads"] == shapes[i]["heads"]);
    for (const char* name : {"kv_heads", "head_dim", "window"}) CHECK(layer[name] == shapes[i][name]);
  }
  const auto& projections = tables["projections"]["rows"];
  REQUIRE(got["projections"].size() == projections.size());
  for (size_t i = 0; i < projections.size(); ++i) {
    CHECK(got["projections"][i]["name"] == projections[i]["projection"]);
    for (const char* name : {"shape", "parameters", "share"})
      CHECK(got["projections"][i][name] == projections[i][name]);
  }
  const int64_t context = card["summary"]["context"];
  size_t lengths = 0;
  for (const json& row : tables["projection_dtypes"]["rows"]) {
    if (row["tokens"] > context) continue;
    CHECK(got["lengths"].at(lengths / 7)["tokens"] == row["tokens"]);
    CHECK(got["lengths"].at(lengths / 7)["bytes"].at(row["dtype"]) == row["bytes"]);
    ++lengths;
  }
  CHECK(got["lengths"].size() * 7 == lengths);
  const std::string stored = config.value("torch_dtype", "float16");
  const std::string dtype = stored == "float32" ? "f32" : stored == "bfloat16" ? "bf16" : "f16";
  const json& cache = got["cache"];
  CHECK(cache["dtype"] == dtype);
  for (const json& row : tables["projection_dtypes"]["rows"])
    if (row["tokens"] == 2048 && row["dtype"] == dtype) CHECK(cache["bytes_at_2048"] == row["bytes"]);
  const int64_t element = dtype == "f32" ? 4 : 2;
  CHECK(cache["weights_bytes"] == card["summary"]["parameters"].get<int64_t>() * element);
  CHECK(cache["bytes_per_token"] == card["summary"]["bytes_per_token"].get<int64_t>() * element / 2);
  CHECK(close(cache["cache_to_weights"],
              cache["bytes_at_2048"].get<double>() / cache["weights_bytes"].get<double>()));
  CHECK(cache["longest_80gib"] == context);  // a small model: 80 GiB hold more
}

}  // namespace

TEST_CASE("[serve architecture] says what models info says, of the loaded model and of others") {
  const test::TemporaryFolder folder;
  {
    const Serving server(folder.path());
    const json loaded = server.get("/api/architecture").json();
    CHECK(loaded["attention"] == "GQA");
    const fs::path demo = fs::path(KVVIZ_DATA) / "models/demo/config.json";
    check_architecture(loaded, card_of("demo", folder.path()), json::parse(read_file(demo)));
    const auto id = [](json answer) {
      for (json& fact : answer["facts"])
        if (fact["key"] == "free_bytes") fact = nullptr;
      return answer;
    };
    CHECK(id(server.get("/api/architecture?id=demo").json()) == id(loaded));
  }
  const std::pair<const char*, const char*> models[] = {
      {"gemma2", "GQA"}, {"falcon_7b", "MQA"}, {"gpt2", "MHA"}, {"qwen2_moe", "GQA"}};
  for (const auto& [name, attention] : models) {
    CAPTURE(name);
    const fs::path model = fs::path(KVVIZ_FIXTURES) / "models" / name;
    const Serving server(folder.path(),
                         {"--model", model.string()});  // it has no tokenizer and is not loaded
    const json got = server.get(std::string("/api/architecture?id=") + name).json();
    CHECK(got.at("attention") == attention);
    check_architecture(got, card_of(model.string(), folder.path()),
                       json::parse(read_file(model / "config.json")));
    CHECK(matrices_in(server.post("/api/profile", {{"id", name}, {"tokens", 100}})).header["id"] == name);
  }
}

TEST_CASE("[serve attention] one layer: the weights and the numbers of kvviz analyze") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const auto analysed = test::run_kvviz(
      {"analyze", "--prompt", text, "--focus", "attention", "--map-bins", "16", "--no-plots", "--json", "-"},
      folder.path());
  REQUIRE_MESSAGE(analysed.code == 0, analysed.err);
  const auto rows = json::parse(analysed.out)["tables"]["attention_heads"]["rows"];
  for (const int layer : {0, 2, -1}) {
    CAPTURE(layer);
    const int64_t index = layer < 0 ? 4 + layer : layer;
    const Matrices all = matrices_in(server.post("/api/attention", {{"text", text}, {"layer", layer}}));
    const Weights w = weights_of(all);
    const auto tokens = std::ssize(all.header["tokens"]);
    REQUIRE(all.shapes.at("attention") == std::vector<int64_t>{8, tokens, tokens});
    check_progress(all);
    CHECK(all.header["layer"] == index);
    CHECK(all.header["heads"] == json{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(all.header["tokens"][0] == "<s>");
    CHECK(all.header["tokens"][1] == " The");
    double error = 0, above = 0;
    for (int64_t h = 0; h < w.heads; ++h)
      for (int64_t q = 0; q < tokens; ++q) {
        double sum = 0;
        for (int64_t k = 0; k < tokens; ++k) (k <= q ? sum : above) += w.at(h, q, k);
        error = std::max(error, std::abs(sum - 1));
      }
    CHECK(error < 1e-5);
    CHECK(above == 0);
    const json& statistics = all.header["statistics"];
    for (int64_t head = 0; head < 8; ++head) {
      const json& row = rows[static_cast<size_t>(index * 8 + head)];
      REQUIRE((row["layer"] == index && row["head"] == head));
      for (const char* name : {"entropy", "sink_mass", "distance"})
        CHECK(close(statistics[name][static_cast<size_t>(head)], row[name], 1e-9));
    }
    const Matrices pooled =
        matrices_in(server.post("/api/attention", {{"text", text}, {"layer", layer}, {"bins", 16}}));
    CHECK(pooled.shapes.at("attention") == std::vector<int64_t>{8, 16, 16});
    const auto maps = array_of(folder / "results/analyze.h5", cat("attention/map_", index));
    REQUIRE(maps.size() == pooled.arrays.at("attention").size());
    double worst = 0;
    for (size_t i = 0; i < maps.size(); ++i)
      worst = std::max(worst, std::abs(maps[i] - pooled.arrays.at("attention")[i]));
    CHECK(worst < 1e-6);

    const Matrices one =
        matrices_in(server.post("/api/attention", {{"text", text}, {"layer", layer}, {"heads", 5}}));
    CHECK(one.header["heads"] == json{5});
    const auto begin = w.values.begin() + 5 * tokens * tokens;
    CHECK(one.arrays.at("attention") == std::vector(begin, begin + tokens * tokens));
    const Matrices mean =
        matrices_in(server.post("/api/attention", {{"text", text}, {"layer", layer}, {"heads", "mean"}}));
    CHECK(mean.header["heads"] == json{"mean"});
    double off = 0, entropy = 0;
    for (int64_t q = 0; q < tokens; ++q)
      for (int64_t k = 0; k < tokens; ++k) {
        double sum = 0;
        for (int64_t h = 0; h < 8; ++h) sum += w.at(h, q, k) / 8;
        off = std::max(off, std::abs(sum - weights_of(mean).at(0, q, k)));
      }
    for (const json& value : statistics["entropy"]) entropy += value.get<double>() / 8;
    CHECK(off < 1e-6);
    CHECK(close(mean.header["statistics"]["entropy"][0], entropy));
  }
}

TEST_CASE("[serve attention] all layers: from the weights of each, and as kvviz analyze has them") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const Matrices layers = matrices_in(server.post("/api/attention/layers", {{"text", text}, {"bins", 200}}));
  const auto rows = test::result_of({"analyze", "--prompt", text, "--focus", "attention"},
                                    folder.path())["tables"]["attention_layers"]["rows"];
  const auto tokens = std::ssize(layers.header["tokens"]);
  REQUIRE(layers.shapes.at("attention") == std::vector<int64_t>{4, tokens, tokens});
  check_progress(layers);
  const Weights means = weights_of(layers);
  Weights over_layers{1, tokens, std::vector<double>(static_cast<size_t>(tokens * tokens))};
  json mean = json::object();
  for (int layer = 0; layer < 4; ++layer) {
    CAPTURE(layer);
    const json& got = layers.header["layers"][static_cast<size_t>(layer)];
    const Weights w =
        weights_of(matrices_in(server.post("/api/attention", {{"text", text}, {"layer", layer}})));
    // The weights come as f32; a count of small ones can differ by those at the edge.
    check_same(got, summary_of(w), 2e-4);
    CHECK(got["layer"] == layer);
    for (const char* name : {"entropy", "small_share", "first_mass"})
      CHECK(close(got[name], rows[static_cast<size_t>(layer)][name], 1e-9));
    double off = 0;
    for (int64_t q = 0; q < tokens; ++q)
      for (int64_t k = 0; k < tokens; ++k) {
        double sum = 0;
        for (int64_t h = 0; h < w.heads; ++h) sum += w.at(h, q, k) / static_cast<double>(w.heads);
        off = std::max(off, std::abs(sum - means.at(layer, q, k)));
        over_layers.values[static_cast<size_t>(q * tokens + k)] += sum / 4;
      }
    CHECK(off < 1e-6);
    for (const char* name : {"entropy", "small_share", "top5_mass", "first_mass"})
      mean[name] = mean.value(name, 0.0) + got[name].get<double>() / 4;
  }
  const json marks = summary_of(over_layers);
  mean["sinks"] = marks["sinks"];
  mean["heavy"] = marks["heavy"];
  check_same(layers.header["mean"], mean, 1e-9);
  CHECK_FALSE(marks["sinks"].empty());
  CHECK(matrices_in(server.post("/api/attention/layers", {{"text", text}})).shapes.at("attention") ==
        std::vector<int64_t>{4, std::min<int64_t>(tokens, 80), std::min<int64_t>(tokens, 80)});
}

TEST_CASE("[serve profile] the numbers and the tiers of kvviz profile") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const Matrices got =
      matrices_in(server.post("/api/profile", {{"tokens", 700},
                                               {"dtype", "int4"},
                                               {"batch", 3},
                                               {"block", 32},
                                               {"tiers", {"HBM:2.6MB:1TB/s", "RAM:1GB:60GB/s"}}}));
  const auto run = test::run_kvviz(
      {"profile", "--tokens", "700", "--dtype", "int4", "--batch", "3", "--block", "32", "--weights", "f16",
       "--tier", "HBM:2.6MB:1TB/s,RAM:1GB:60GB/s", "--no-plots", "--json", "-"},
      folder.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  const json want = json::parse(run.out);
  const json& header = got.header;
  for (const char* name :
       {"cache_bytes", "bytes_per_token", "bytes_per_token_layer", "weights_bytes", "cache_to_weights"})
    CHECK(header["summary"].at(name) == want["summary"].at(name));
  CHECK(header["summary"]["key_bytes"].get<int64_t>() * 2 == want["summary"]["cache_bytes"]);
  CHECK(header["summary"]["total_bytes"] == header["summary"]["cache_bytes"].get<int64_t>() +
                                                header["summary"]["weights_bytes"].get<int64_t>() +
                                                header["summary"]["activation_bytes"].get<int64_t>());
  CHECK(header["summary"]["activation_bytes"] > 0);
  const auto& placement = want["tables"]["placement"]["rows"];
  REQUIRE(header["tiers"].size() == placement.size());
  CHECK(placement[1]["blocks"] > 0);  // or the test would not see the second tier
  for (size_t i = 0; i < placement.size(); ++i) {
    const json &tier = header["tiers"][i], &row = placement[i];
    CHECK(tier["name"] == row["tier"]);
    CHECK(tier["blocks"] == row["blocks"]);
    CHECK(tier["bytes"] == row["bytes"]);
    CHECK(tier["capacity"] == row["capacity"]);
    CHECK(tier["bandwidth"] == row["bytes_per_second"]);
    CHECK(tier["step_seconds"] == row["time_all"]);
  }
  for (size_t layer = 0; layer < 4; ++layer)
    CHECK(header["layer_bytes"][layer] == want["tables"]["cache_layers"]["rows"][layer]["bytes"]);
  CHECK(header["layer_token_bytes"] ==
        json(std::vector<int64_t>(4, 3 * want["summary"]["bytes_per_token_layer"].get<int64_t>())));
  CHECK(got.arrays.at("tier") == array_of(folder / "results/profile.h5", "profile/tier_by_age"));
  CHECK(got.shapes.at("tier") == std::vector<int64_t>{4, 22});
  CHECK(header["l2"] == json{{"bytes", 50'000'000}, {"share", want["summary"]["l2_share"]}});
  REQUIRE(header["lengths"].size() == 2);  // of a context of 1024
  for (size_t i = 0; i < 2; ++i)
    CHECK(header["lengths"][i]["cache_bytes"] == want["tables"]["projection"]["rows"][i]["bytes"]);
  CHECK(header["measured"] == false);
  CHECK(header["context"] == 1024);
  CHECK_FALSE(got.arrays.contains("reads"));

  // 22 blocks in 4 columns of 6: each in the slowest tier of its blocks.
  const Matrices few =
      matrices_in(server.post("/api/profile", {{"tokens", 700},
                                               {"dtype", "int4"},
                                               {"batch", 3},
                                               {"block", 32},
                                               {"columns", 4},
                                               {"tiers", {"HBM:2.6MB:1TB/s", "RAM:1GB:60GB/s"}}}));
  CHECK(few.header["blocks_per_column"] == 6);
  for (size_t layer = 0; layer < 4; ++layer)
    for (size_t column = 0; column < 4; ++column) {
      const auto first = got.arrays.at("tier").begin() + static_cast<std::ptrdiff_t>(layer * 22 + column * 6);
      CHECK(few.arrays.at("tier")[layer * 4 + column] ==
            *std::max_element(first, first + (column == 3 ? 4 : 6)));
    }
  const json without = matrices_in(server.post("/api/profile", {{"weights", false}})).header;
  CHECK(without["summary"]["weights_bytes"].is_null());
  CHECK(without["summary"]["cache_to_weights"].is_null());
  CHECK(without["tiers"][0]["capacity"] == 80'000'000'000);
  CHECK(without["tokens"] == 512);
}

TEST_CASE("[serve profile] with a text: what kvviz simulate measured") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  const Matrices got =
      matrices_in(server.post("/api/profile", {{"text", text}, {"block", 8}, {"tokens", 7}}));
  const auto simulated = test::run_kvviz(
      {"simulate", "--prompt", text, "--policies", "window", "--budget", "0.5", "--no-plots"}, folder.path());
  REQUIRE_MESSAGE(simulated.code == 0, simulated.err);
  const auto run = test::run_kvviz({"profile", "--access", "results/simulate.h5", "--block", "8", "--weights",
                                    "f16", "--no-plots", "--json", "-"},
                                   folder.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  CHECK(got.header["tokens"] == json::parse(run.out)["summary"]["tokens"]);
  CHECK(got.header["measured"] == true);
  check_progress(got);
  const fs::path file = folder / "results/profile.h5";
  CHECK(got.arrays.at("tier") == array_of(file, "profile/tier_by_age"));
  for (const char* name : {"reads", "attention"}) {
    const auto want = array_of(file, std::string("profile/block_") + name);
    const auto& values = got.arrays.at(name);
    REQUIRE(values.size() == want.size());
    for (size_t i = 0; i < want.size(); ++i) CHECK(close(values[i], want[i], 1e-6));
  }
  // Sinks and heavy hitters as /api/attention/layers finds them.
  const auto layers = matrices_in(server.post("/api/attention/layers", {{"text", text}})).header["layers"];
  const auto columns = static_cast<size_t>(got.shapes.at("mark")[1]);
  for (size_t layer = 0; layer < 4; ++layer) {
    std::vector<double> marks(columns);
    for (const auto& key : layers[layer]["heavy"]) marks[key.get<size_t>() / 8] = 1;
    for (const auto& key : layers[layer]["sinks"]) marks[key.get<size_t>() / 8] = 2;
    const auto first = got.arrays.at("mark").begin() + static_cast<std::ptrdiff_t>(layer * columns);
    CHECK(std::vector(first, first + static_cast<std::ptrdiff_t>(columns)) == marks);
  }
}

TEST_CASE("[serve analysis] bad requests") {
  const test::TemporaryFolder folder;
  const Serving server(folder.path());
  struct Case {
    const char* path;
    json fields;
    int status;
    const char* words;
  };
  std::string long_text;
  for (int i = 0; i < 1100; ++i) long_text += "word ";
  const Case cases[] = {
      {"/api/attention", json::object(), 400, "text is missing"},
      {"/api/attention", {{"text", ""}}, 400, "the text is empty"},
      {"/api/attention", {{"text", 5}}, 400, "text is 5; expected a text"},
      {"/api/attention", {{"text", long_text}}, 400, "at most 1024 are taken, the model's context"},
      {"/api/attention",
       {{"text", "a"}, {"layer", 4}},
       400,
       "layer is 4; expected a whole number from -4 to 3"},
      {"/api/attention", {{"text", "a"}, {"layer", -5}}, 400, "from -4 to 3"},
      {"/api/attention", {{"text", "a"}, {"layer", "0"}}, 400, "from -4 to 3"},
      {"/api/attention", {{"text", "a"}, {"layer", 1.5}}, 400, "from -4 to 3"},
      {"/api/attention",
       {{"text", "a"}, {"heads", 8}},
       400,
       "heads is 8; expected a whole number from 0 to 7"},
      {"/api/attention", {{"text", "a"}, {"heads", -1}}, 400, "from 0 to 7"},
      {"/api/attention", {{"text", "a"}, {"heads", "some"}}, 400, "expected one of all, mean"},
      {"/api/attention", {{"text", "a"}, {"heads", true}}, 400, "expected one of all, mean"},
      {"/api/attention", {{"text", "a"}, {"heads", {0}}}, 400, "expected one of all, mean"},
      {"/api/attention", {{"text", "a"}, {"bins", 0}}, 400, "from 1 to 512"},
      {"/api/attention", {{"text", "a"}, {"bins", 513}}, 400, "from 1 to 512"},
      {"/api/attention", {{"text", "a"}, {"head", 0}}, 400, "\"head\" is no field"},
      {"/api/attention/layers", {{"text", "a"}, {"bins", 257}}, 400, "from 1 to 256"},
      {"/api/attention/layers", {{"text", "a"}, {"layer", 1}}, 400, "\"layer\" is no field"},
      {"/api/profile", {{"tokens", 0}}, 400, "tokens is 0"},
      {"/api/profile", {{"tokens", 1e300}}, 400, "tokens is 1e+300"},
      {"/api/profile", {{"dtype", "f15"}}, 400, "expected one of f32, f16, bf16, f8, int8, int4, int2"},
      {"/api/profile", {{"batch", -1}}, 400, "batch is -1"},
      {"/api/profile", {{"block", 0}}, 400, "block is 0"},
      {"/api/profile", {{"columns", 5000}}, 400, "columns is 5000"},
      {"/api/profile", {{"tiers", json::array()}}, 400, "tiers is a list; expected a list of 1 to 8"},
      {"/api/profile",
       {{"tiers", {"<b>"}}},
       400,
       "the tier <b> is no tier; expected NAME:CAPACITY:BANDWIDTH"},
      {"/api/profile", {{"tiers", {"A:1GB:2GB/s", "A:1GB:1GB/s"}}}, 400, "names A twice"},
      {"/api/profile", {{"tiers", {"A:1GB:1GB/s", "B:1GB:2GB/s"}}}, 400, "tier B is faster than A"},
      {"/api/profile", {{"tiers", {"A:10:1GB/s"}}}, 422, "the weights take 2102528 bytes; A has 10"},
      {"/api/profile", {{"tiers", {"A:3MB:1GB/s"}}, {"tokens", 1048576}}, 422, "do not fit"},
      {"/api/profile", {{"tokens", 1048576 * 2}}, 400, "from 1 to 1048576"},
      {"/api/profile", {{"tokens", 1048576}, {"block", 1}, {"id", "x/y"}}, 404, "there is no model x/y"},
      {"/api/profile", {{"id", "../demo"}}, 404, "there is no model ../demo"},
      {"/api/profile", {{"weights", "f16"}}, 400, "expected true or false"},
      {"/api/profile", {{"text", long_text}}, 400, "at most 1024"},
      {"/api/profile", {{"lengths", 1}}, 400, "\"lengths\" is no field"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.path);
    CAPTURE(one.fields.dump().substr(0, 80));
    check_refused(server.post(one.path, one.fields), one.status, one.words);
  }
  check_refused(server.get("/api/architecture?x=1"), 400, "\"x\" is no field");
  // Markup and what looks like it is text like any other.
  const auto markup = matrices_in(server.post("/api/attention", {{"text", "<script>alert(1)</script>"}}));
  std::string tokens;
  for (const auto& token : markup.header["tokens"]) tokens += token.get<std::string>();
  CHECK(holds(tokens, "script>"));
  CHECK(server.get("/api/health").status == 200);
}
