// SPDX-License-Identifier: MIT
#include "kvviz/batch/record_file.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using batch::Plan;
using batch::RecordFile;
using nlohmann::json;
using test::holds;
using test::message_of;
namespace fs = std::filesystem;

namespace {

Plan plan_of(int64_t texts) {
  Plan plan{.command = "sinks",
            .arguments = {"--samples=0-9"},
            .command_line = "kvviz sinks --samples 0-9",
            .version = "1",
            .commit = "abc",
            .model = {{"config", {{"layers", 4}}}},
            .texts = {},
            .shard = {}};
  for (int64_t i = 0; i < texts; ++i)
    plan.texts.push_back(
        {.name = cat("text ", i), .tokens = 10 + i, .sha256 = "00", .failure = "", .bos = true});
  return plan;
}

const json body = {{"x", {1.0 / 3, -0.0, 1e300, std::numeric_limits<double>::quiet_NaN()}},
                   {"n", int64_t{1} << 60}};

}  // namespace

TEST_CASE("[record file] records come back bit by bit, from several threads") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "r" / "a.records";
  {
    RecordFile file = RecordFile::create(path, plan_of(64));
    std::vector<std::thread> threads;
    for (int64_t t = 0; t < 4; ++t)
      threads.emplace_back([&file, t] {
        for (int64_t i = t; i < 64; i += 4) file.add({i, "measured"}, {{"i", i}, {"body", body}});
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(file.find({5, "measured"})->at("i") == 5);
    file.finish();
  }
  const RecordFile file = RecordFile::read(path);
  CHECK(file.finished());
  CHECK(file.texts() == 64);
  CHECK(
      batch::difference(file.stored_plan(), {plan_of(64), batch::hash_of_texts(plan_of(64).texts)}).empty());
  for (int64_t i = 0; i < 64; ++i) {
    const json found = *file.find({i, "measured"});
    CHECK(found.at("i") == i);
    const auto numbers = found.at("body").at("x").get<std::vector<double>>();
    CHECK(numbers[0] == 1.0 / 3);
    CHECK(std::signbit(numbers[1]));
    CHECK(numbers[2] == 1e300);
    CHECK(std::isnan(numbers[3]));
  }
  CHECK_FALSE(file.find({64, "measured"}));
  CHECK_FALSE(file.find({5, "other"}));
}

TEST_CASE("[record file] cut off anywhere, it goes on with every whole record") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "a.records", cut = folder / "cut.records";
  std::vector<int64_t> ends;
  {
    RecordFile file = RecordFile::create(path, plan_of(3));
    for (int64_t i = 0; i < 3; ++i) {
      file.add({i, "measured"}, {{"i", i}});
      ends.push_back(static_cast<int64_t>(fs::file_size(path)));
    }
  }
  const std::string bytes = read_file(path);
  for (int64_t size = 0; size <= std::ssize(bytes); ++size) {
    write_file(cut, bytes.substr(0, static_cast<size_t>(size)));
    RecordFile file = RecordFile::resume(cut, plan_of(3));
    int64_t whole = 0;
    for (const int64_t end : ends) whole += end <= size ? 1 : 0;
    CHECK(file.texts() == whole);
    for (int64_t i = whole; i < 3; ++i) file.add({i, "measured"}, {{"i", i}});
    file.finish();
    CHECK(read_file(cut).starts_with(bytes));
  }
}

TEST_CASE("[record file] a flipped bit is noticed wherever it is") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "a.records", bad = folder / "bad.records";
  {
    RecordFile file = RecordFile::create(path, plan_of(2));
    file.add({0, "measured"}, {{"i", 0}});
    file.add({1, "measured"}, {{"i", 1}});
    file.finish();
  }
  const std::string bytes = read_file(path);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 4);
    write_file(bad, changed);
    bool whole = false;
    const std::string error = message_of<DataError>([&] {
      const RecordFile file = RecordFile::read(bad);
      whole = file.finished() && file.texts() == 2;
    });
    CHECK_MESSAGE((!error.empty() || !whole), "byte ", i);
    CHECK(error != "another exception");
  }
}

TEST_CASE("[record file] a plan that lacks something, or has another kind of it, is named") {
  const json whole = batch::to_json(plan_of(3));
  CHECK(batch::plan_from_json(whole, "a.records").plan.texts == plan_of(3).texts);
  for (const auto& [key, value] : whole.items()) {
    CAPTURE(key);
    json without = whole, other = whole;
    without.erase(key);
    CHECK(holds(message_of<DataError>([&] { batch::plan_from_json(without, "a.records"); }),
                "a.records: damaged"));
    other[key] = json::array({-1, json::object()});
    if (key != "model")
      CHECK(holds(message_of<DataError>([&] { batch::plan_from_json(other, "a.records"); }),
                  "a.records: damaged"));
  }
}

TEST_CASE("[record file] counts of a plan are whole numbers, and no more than memory holds") {
  const json whole = batch::to_json(plan_of(3));
  const auto refused = [&](const char* place, const json& value) {
    json other = whole;
    other.at(json::json_pointer(place)) = value;
    return holds(message_of<DataError>([&] { batch::plan_from_json(other, "a.records"); }),
                 "a.records: damaged");
  };
  for (const char* place : {"/shard/index", "/shard/count", "/texts/1/tokens"}) CHECK(refused(place, 1e40));
  for (const json& count : {json(1e40), json(UINT64_MAX), json(-1)}) CHECK(refused("/text_count", count));
  json many = whole;
  many["text_count"] = many["shard"]["count"] = INT64_MAX;
  many["texts"].erase(2), many["texts"].erase(1);
  CHECK(
      holds(message_of<DataError>([&] { batch::plan_from_json(many, "a.records"); }), "a.records: damaged"));
}

TEST_CASE("[record file] one writer, the later record counts, nothing is left of a run without texts") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "a.records";
  {
    RecordFile file = RecordFile::create(path, plan_of(2));
    CHECK(holds(message_of<DataError>([&] { RecordFile::create(path, plan_of(2)); }), "is being written"));
    CHECK(holds(message_of<DataError>([&] { RecordFile::resume(path, plan_of(2)); }), "is being written"));
    file.add({-1, "origin"}, 1);
  }
  CHECK_FALSE(fs::exists(path));
  {
    RecordFile file = RecordFile::create(path, plan_of(2));
    file.add({0, "failed"}, "why");
    file.add({0, "failed"}, "why then");
    CHECK(*file.find({0, "failed"}) == "why then");
  }
  CHECK(fs::exists(path));
  Plan other = plan_of(2);
  other.texts[1].tokens = 99;
  CHECK(holds(message_of<UsageError>([&] { RecordFile::resume(path, other); }), "text 1"));
  other = plan_of(2);
  other.version = "2";
  CHECK(holds(message_of<UsageError>([&] { RecordFile::resume(path, other); }),
              "kvviz 1 (abc), and kvviz 2 (abc)"));
  CHECK(RecordFile::resume(path, plan_of(2)).texts() == 1);
}
