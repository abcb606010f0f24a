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
  CHECK(batch::difference(file.stored_plan(), batch::stored(plan_of(64))).empty());
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

TEST_CASE("[record file] a text that could not be read and can be now is taken in by resume") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "a.records";
  Plan bad = plan_of(3);
  bad.texts[1] = {.name = "text 1", .tokens = 0, .sha256 = "", .failure = "not UTF-8", .bos = false};
  {
    RecordFile file = RecordFile::create(path, bad);
    file.add({0, "measured"}, 7);
    file.finish();
  }
  Plan other = plan_of(3);
  other.texts[0].tokens = 99;
  other.command_line = "kvviz sinks --resume";
  CHECK(holds(message_of<UsageError>([&] { RecordFile::resume(path, other); }),
              "text 0 was text 0, 10 tokens"));
  other.texts[0].tokens = 10;
  {
    RecordFile file = RecordFile::resume(path, other);
    CHECK(file.find({0, "measured"}) == json(7));
    CHECK(file.plan().texts[1].tokens == 11);
    file.add({1, "measured"}, 8);
  }
  const RecordFile file = RecordFile::read(path);
  CHECK(file.plan().texts == other.texts);
  CHECK(file.plan().command_line == bad.command_line);
  CHECK(batch::difference(file.stored_plan(), batch::stored(plan_of(3))).empty());
  CHECK(holds(message_of<UsageError>([&] { RecordFile::resume(path, bad); }), "text 1 was"));
  Plan shard = bad;
  shard.shard = {0, 2};
  { RecordFile::create(folder / "s.records", shard).add({0, "measured"}, 7); }
  Plan later = plan_of(3);
  later.shard = {0, 2};
  CHECK(
      holds(message_of<UsageError>([&] { RecordFile::resume(folder / "s.records", later); }), "other texts"));
}

TEST_CASE("[record file] what is set aside is set aside for good") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "a.records";
  for (const char* aside : {"", "a.records.old", "a.records.old2"}) {
    RecordFile file = RecordFile::create(path, plan_of(2));
    CHECK(file.set_aside() == (*aside == 0 ? fs::path() : folder / aside));
    file.add({0, "measured"}, aside);
  }
  CHECK(RecordFile::read(folder / "a.records.old").find({0, "measured"}) == json(""));
  CHECK(RecordFile::read(folder / "a.records.old2").find({0, "measured"}) == json("a.records.old"));
}

TEST_CASE("[record file] counts of a plan are whole numbers, and fit each other") {
  const json whole = batch::to_json(plan_of(3));
  const auto refused = [&](const char* place, const json& value) {
    json other = whole;
    other.at(json::json_pointer(place)) = value;
    return holds(message_of<DataError>([&] { batch::plan_from_json(other, "a.records"); }),
                 "a.records: damaged");
  };
  for (const char* place : {"/shard/index", "/shard/count", "/texts/1/tokens"}) CHECK(refused(place, 1e40));
  for (const json& count : {json(1e40), json(UINT64_MAX), json(-1)}) CHECK(refused("/text_count", count));
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
