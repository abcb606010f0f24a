// SPDX-License-Identifier: MIT
#include "kvviz/formats/gguf.hpp"

#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "support/gguf_writer.hpp"

using namespace kvviz;
using test::GgufWriter;

namespace {

GgufFile parse(const std::string& bytes) {
  return GgufFile::parse(std::as_bytes(std::span(bytes)), "test.gguf");
}

void check_refused(const std::string& bytes, const char* message) {
  CHECK_THROWS_WITH_AS(parse(bytes), doctest::Contains(message), DataError);
}
void check_refused(const GgufWriter& file, const char* message) {
  check_refused(file.bytes(), message);
}

}  // namespace

TEST_CASE("[gguf] metadata of every kind are read under their keys") {
  GgufWriter file;
  file.u32("count", 4000000000U);
  file.i64("below", -5);
  file.f32("eps", 0.25F);
  file.boolean("yes", 1);
  file.text("name", "café");
  file.i32s("types", {1, -3, 6});
  file.f32s("scores", {-1.5F, 2});
  file.texts("tokens", {"a", "", "<0x0A>"});
  file.entry("flags", 9,
             GgufWriter::number(uint32_t{7}) + GgufWriter::number(uint64_t{2}) + std::string("\1\0", 2));
  file.entry("nested", 9,
             GgufWriter::number(uint32_t{9}) + GgufWriter::number(uint64_t{1}) +
                 GgufWriter::number(uint32_t{8}) + GgufWriter::number(uint64_t{1}) +
                 GgufWriter::text_bytes("x"));
  file.entry("most", 10, GgufWriter::number(~uint64_t{0}));
  const std::string bytes = file.bytes();
  const GgufFile read = parse(bytes);
  CHECK(read.version() == 3);
  CHECK(read.integer("count") == 4000000000);
  CHECK(read.integer("below") == -5);
  CHECK(read.number("eps") == 0.25);
  CHECK(read.number("below") == -5);
  CHECK(read.boolean("yes"));
  CHECK(read.text("name") == "café");
  CHECK(read.integers("types") == std::vector<int64_t>{1, -3, 6});
  CHECK(read.numbers("types") == std::vector<float>{1, -3, 6});
  CHECK(read.numbers("scores") == std::vector<float>{-1.5F, 2});
  CHECK(read.texts("tokens") == std::vector<std::string>{"a", "", "<0x0A>"});
  const auto& outer = std::get<GgufArray>(read.find("nested")->value);
  REQUIRE(outer.arrays.size() == 1);
  CHECK(std::get<GgufArray>(outer.arrays[0].value).texts[0] == "x");
  CHECK(read.integer("absent", 7) == 7);
  CHECK(read.text("absent", "no") == "no");
  CHECK(read.find("absent") == nullptr);
  CHECK_THROWS_WITH_AS(read.integer("absent"), doctest::Contains("lack absent"), DataError);
  CHECK_THROWS_WITH_AS(read.integer("name"), doctest::Contains("name is not an integer"), DataError);
  CHECK_THROWS_WITH_AS(read.integer("most"), doctest::Contains("63 bits"), DataError);
  CHECK_THROWS_WITH_AS(read.text("eps"), doctest::Contains("eps is not a text"), DataError);
  CHECK_THROWS_WITH_AS(read.texts("types"), doctest::Contains("not an array of texts"), DataError);
  CHECK_THROWS_WITH_AS(read.numbers("tokens"), doctest::Contains("not an array of numbers"), DataError);
  CHECK_THROWS_WITH_AS(read.integers("scores"), doctest::Contains("not an array of integers"), DataError);
  CHECK_THROWS_WITH_AS(read.texts("count"), doctest::Contains("not an array"), DataError);
}

TEST_CASE("[gguf] tensors lie where the header says, shapes row-major, versions 2 and 3") {
  for (const uint32_t version : {2U, 3U}) {
    GgufWriter file;
    file.version = version;
    file.tensor("a", {2, 3}, {0, 1, 2, 3, 4, 5});
    file.tensor_bytes("b", {2, 32}, "Q8_0", std::string(68, '\7'));
    const std::string bytes = file.bytes();
    const GgufFile read = parse(bytes);
    REQUIRE(read.tensors().size() == 2);
    const StoredTensor& a = read.tensors().at("a");
    CHECK(a.dtype == "F32");
    CHECK(a.shape == std::vector<int64_t>{2, 3});
    CHECK(a.bytes.size() == 24);
    CHECK(static_cast<const void*>(a.bytes.data()) == bytes.data() + bytes.size() - 32 - 96);
    CHECK(read.tensors().at("b").shape == std::vector<int64_t>{2, 32});
    CHECK(read.tensors().at("b").bytes.size() == 68);
  }
}

TEST_CASE("[gguf] the alignment that the file names") {
  GgufWriter file;
  file.u32("general.alignment", 64);
  file.tensor_at("a", {8}, 0, 0);
  file.tensor_at("b", {8}, 0, 64);
  std::string bytes = file.bytes();
  bytes.resize((bytes.size() + 63) / 64 * 64);
  bytes += std::string(96, '\0');
  CHECK(parse(bytes).tensors().at("b").bytes.data() - parse(bytes).tensors().at("a").bytes.data() == 64);
  for (const uint32_t wrong : {0U, 48U, 1U << 30}) {
    GgufWriter bad;
    bad.u32("general.alignment", wrong);
    bad.tensor("a", {1}, {1});
    check_refused(bad, "a power of two");
  }
}

TEST_CASE("[gguf] lies of the header are found before any tensor is used") {
  check_refused("GGUF", "at least 24");
  check_refused(std::string(24, 'x'), "does not begin with GGUF");
  GgufWriter old;
  old.version = 1;
  check_refused(old, "GGUF version 1; supported: 2 and 3; convert");
  old.version = 0x03000000;
  check_refused(old, "big-endian");
  GgufWriter many;
  many.more_keys = uint64_t{1} << 60;
  check_refused(many, "metadata keys, but only");
  GgufWriter tensors;
  tensors.more_tensors = uint64_t{1} << 60;
  check_refused(tensors, "tensors, but only");
  GgufWriter twice;
  twice.u32("a", 1);
  twice.u32("a", 1);
  check_refused(twice, "the metadata key a stands twice");
  GgufWriter type;
  type.entry("a", 13, "");
  check_refused(type, "unknown type 13");
  GgufWriter text;
  text.entry("a", 8, GgufWriter::number(~uint64_t{0}));
  check_refused(text, "a takes 18446744073709551615 bytes");
  GgufWriter array;
  array.entry("a", 9, GgufWriter::number(uint32_t{4}) + GgufWriter::number(uint64_t{1} << 62));
  check_refused(array, "elements of a, but only");
  GgufWriter truth;
  truth.boolean("a", 2);
  check_refused(truth, "where 0 or 1 is expected");
  std::string deep;
  for (int i = 0; i < 20; ++i) deep += GgufWriter::number(uint32_t{9}) + GgufWriter::number(uint64_t{1});
  GgufWriter nested;
  nested.entry("a", 9, deep);
  check_refused(nested, "too many arrays within arrays");
}

TEST_CASE("[gguf] lies about tensors") {
  const auto with = [](const std::vector<int64_t>& shape, uint32_t type, uint64_t offset) {
    GgufWriter file;
    file.tensor("good", {8}, std::vector<float>(8));
    file.tensor_at("bad", shape, type, offset);
    return file;
  };
  check_refused(with({1, 1, 1, 1, 1}, 0, 32), "5 dimensions");
  check_refused(with({8}, 4, 32), "bad has the unknown type 4");  // a type that was taken out of the format
  check_refused(with({33}, 8, 32), "impossible shape [33] (rows are whole blocks of 32)");
  check_refused(with({-1}, 0, 32), "impossible shape");
  check_refused(with({int64_t{1} << 31, int64_t{1} << 31}, 0, 32), "impossible shape");
  check_refused(with({8}, 0, ~uint64_t{0} - 16), "impossible shape");
  check_refused(with({8}, 0, 32), "lie outside the 32 bytes");
  check_refused(with({4}, 0, 16), "no multiple of the alignment 32");
  check_refused(with({4}, 0, 0), "overlap");
  GgufWriter twice;
  twice.tensor("a", {1}, {1});
  twice.tensor("a", {1}, {1});
  check_refused(twice, "the tensor a stands twice");
}
