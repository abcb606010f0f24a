// SPDX-License-Identifier: MIT
#include "kvviz/model/safetensors.hpp"

#include <ATen/ops/arange.h>
#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/model/checkpoint.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;

namespace {

std::string with_header(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\1');
}

void check_refused(const std::string& bytes, const std::string& message) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "model.safetensors";
  write_file(file, bytes);
  CHECK_THROWS_WITH_AS(Checkpoint::open(folder.path()), doctest::Contains(message.c_str()), DataError);
}

std::string entry(const char* name, const char* shape, int begin, int end, const char* dtype = "F32") {
  return cat('"', name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape, ",\"data_offsets\":[", begin, ',',
             end, "]}");
}

}  // namespace

TEST_CASE("[safetensors] what is written is read, bit for bit") {
  const test::TemporaryFolder folder;
  const at::Tensor f32 = at::arange(6, at::kFloat).view({2, 3}).div(7), f16 = f32.to(at::kHalf),
                   i64 = at::arange(3);
  write_safetensors(folder.path() / "model.safetensors", {{"a", f32}, {"b", f16}, {"c", i64}},
                    {{"format", "pt"}});
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  CHECK(checkpoint.tensors().size() == 3);
  CHECK(borrowed(*checkpoint.find("a"))->equal(f32));
  CHECK(borrowed(*checkpoint.find("b"))->equal(f16));
  CHECK(borrowed(*checkpoint.find("c"))->equal(i64));
  CHECK(checkpoint.find("d") == nullptr);
}

TEST_CASE("[safetensors] lies of the header are found before any tensor is used") {
  check_refused("1234", "at least 8");
  check_refused(std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10), "header claims");
  check_refused(with_header("{not json", 0), "not JSON");
  check_refused(with_header("[1]", 0), "not a JSON object");
  check_refused(with_header("{" + entry("a", "[2]", 0, 8) + "," + entry("a", "[2]", 8, 16) + "}", 16),
                "twice");
  check_refused(with_header("{" + entry("a", "[2]", 0, 8) + "}", 4), "truncated");
  check_refused(with_header("{" + entry("a", "[3]", 0, 8) + "}", 8), "expected 12");
  check_refused(with_header("{" + entry("a", "[2]", 8, 0) + "}", 8), "data_offsets");
  for (const char* shape : {"[-2]", "[1e+40]", "[2.0]", "[true]", "[18446744073709551615]", "{\"a\":2}", "2"})
    check_refused(with_header("{" + entry("a", shape, 0, 8) + "}", 8),
                  "shape is " + std::string(shape) + ", expected a list of whole numbers from 0 on");
  check_refused(with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e40]}})", 8),
                "data_offsets is [0,1e+40], expected");
  check_refused(with_header("{" + entry("a", "[4611686018427387904,4]", 0, 8) + "}", 8), "negative or huge");
  check_refused(with_header("{" + entry("a", "[2]", 0, 8, "F31") + "}", 8), "unknown dtype");
  check_refused(with_header("{" + entry("a", "[2]", 0, 8) + "," + entry("b", "[2]", 4, 12) + "}", 12),
                "overlap");
  check_refused(with_header("{" + entry("a", "[2]", 0, 8) + "," + entry("b", "[2]", 12, 20) + "}", 20),
                "no tensor");
  check_refused(with_header("{" + entry("a", "[2]", 0, 8) + "}", 12), "at the end");
  check_refused(with_header(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", 8), "bad entry");
  check_refused(with_header(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "bad entry");
}

TEST_CASE("[safetensors] shards: a missing file, a missing tensor, a path instead of a name") {
  const test::TemporaryFolder folder;
  const auto index = folder.path() / "model.safetensors.index.json";
  CHECK_THROWS_WITH_AS(Checkpoint::open(folder.path()), doctest::Contains("no weights"), DataError);
  write_file(index, R"({"weight_map":{"a":"one.safetensors"}})");
  CHECK_THROWS_WITH_AS(Checkpoint::open(folder.path()), doctest::Contains("missing"), DataError);
  write_file(folder.path() / "one.safetensors", with_header("{" + entry("b", "[2]", 0, 8) + "}", 8));
  CHECK_THROWS_WITH_AS(Checkpoint::open(folder.path()), doctest::Contains("lacks it"), DataError);
  write_file(index, R"({"weight_map":{"a":"../one.safetensors"}})");
  CHECK_THROWS_WITH_AS(Checkpoint::open(folder.path()), doctest::Contains("not a file name"), DataError);
  write_file(index, R"({"weights":{}})");
  CHECK_THROWS_WITH_AS(Checkpoint::open(folder.path()), doctest::Contains("not a shard index"), DataError);
}

TEST_CASE("[safetensors] a thousand damaged files: an error or a valid file, never a crash") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "model.safetensors";
  write_safetensors(file, {{"a", at::arange(6, at::kFloat)}, {"b", at::arange(4, at::kFloat).to(at::kHalf)}},
                    {});
  const std::string good = read_file(file);
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string bad = good;
    if (i % 2 == 0) bad.resize(random() % good.size());
    for (int flips = 0; flips < 3 && !bad.empty(); ++flips)
      bad[random() % std::min<size_t>(bad.size(), good.size() - 32)] ^= static_cast<char>(1 + random() % 255);
    write_file(file, bad);
    try {
      const Checkpoint checkpoint = Checkpoint::open_file(file);
      for (const auto& [name, stored] : checkpoint.tensors())
        if (const auto tensor = borrowed(stored)) static_cast<void>(tensor->clone());
    } catch (const DataError&) {
      ++refused;
    }
  }
  CHECK(refused > 900);
}
