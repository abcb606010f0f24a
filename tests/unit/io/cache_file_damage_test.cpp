// SPDX-License-Identifier: MIT
#include "kvviz/io/cache_file.hpp"

// After the headers of libtorch: glog, which they include, has a CHECK of its own.
#include <doctest/doctest.h>
#include <hdf5.h>

#include <fstream>
#include <functional>
#include <random>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/cache_writer.hpp"
#include "kvviz/io/hdf5.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"
#include "unit/io/sample_cache.hpp"

// HDF5 loses memory when a file is damaged or cannot be written to its end; LeakSanitizer reads this
// function.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}

namespace kvviz::io {
namespace {
namespace fs = std::filesystem;
using test::holds;
using test::message_of;
using test::sample_cache;
using test::TemporaryFolder;

// A schema-1 file put together by hand, so that any part can be wrong.
struct Sketch {
  int64_t schema = 1;
  std::string basis = "post_rope", pairing = "half", dtype = "f32";
  int64_t rotary_dim = 4, query_heads = 4, window = 0;
  std::vector<std::string> layers = {"0000", "0001"};
  std::vector<int64_t> key = {2, 3, 4}, value = {2, 3, 4}, ids = {3}, positions = {3};
  Element key_element = Element::f32, value_element = Element::f32, id_element = Element::i32;
  std::vector<std::string> text = {"a", "b", "c"};
  int32_t first_id = 0;
  float number = 0.5F;
  std::string without = "";  // this object is left out
};

int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t n : shape) count *= n;
  return count;
}

void draw(const fs::path& path, const Sketch& s) {
  Hdf5File out = Hdf5File::create(path);
  out.write_attribute("/", "kvviz_schema", s.schema);
  out.write_attribute("/", "key_basis", s.basis);
  out.write_attribute("/", "rope_pairing", s.pairing);
  out.write_attribute("/", "rotary_dim", s.rotary_dim);
  const auto array = [&](const std::string& name, const std::vector<int64_t>& shape, Element element) {
    if (name == s.without) return;
    std::vector<float> floats(static_cast<size_t>(count_of(shape)) * 2, s.number);
    std::vector<int32_t> ints(floats.size(), s.first_id);
    const bool whole = element == Element::i32 || element == Element::i64;
    out.write(name, shape, element, whole ? static_cast<const void*>(ints.data()) : floats.data(), {});
  };
  out.make_group("/tokens");
  array("/tokens/id", s.ids, s.id_element);
  array("/tokens/position", s.positions, Element::i32);
  if (s.without != "/tokens/text") out.write_strings("/tokens/text", s.text);
  if (s.without != "/layers") out.make_group("/layers");
  for (const std::string& layer : s.layers) {
    const std::string group = "/layers/" + layer;
    out.make_group(group);
    out.write_attribute(group, "query_heads", s.query_heads);
    out.write_attribute(group, "window", s.window);
    out.write_attribute(group, "dtype", s.dtype);
    array(group + "/key", s.key, s.key_element);
    array(group + "/value", s.value, s.value_element);
  }
  out.close();
}

TEST_CASE("[cache_file] the hand-made file is valid until a part of it is wrong") {
  const TemporaryFolder folder;
  const fs::path file = folder / "cache.h5";
  draw(file, {});
  CHECK(read_cache(file).cache.layers.size() == 2);
  draw(file, {.dtype = "bf16"});
  CHECK(bool(read_cache(file).cache.layers[0].key.scalar_type() == at::kBFloat16));
  draw(file, {.without = "/tokens/text"});
  CHECK(read_cache(file).cache.tokens.text == std::vector<std::string>(3));

  struct Case {
    Sketch sketch;
    const char *object, *what;
  };
  const Case cases[] = {
      {{.schema = 2}, "got schema 2", "reads up to schema 1"},
      {{.schema = 0}, "got schema 0", "expected 1"},
      {{.basis = "rotated"}, "key_basis", "got \"rotated\"; expected one of pre_rope, post_rope"},
      {{.pairing = "twisted"}, "rope_pairing", "none, half, interleaved"},
      {{.rotary_dim = 6}, "/layers/0000", "rotary_dim is 6"},
      {{.rotary_dim = 3}, "/layers/0000", "rotary_dim is 3"},
      {{.rotary_dim = -2}, "rotary_dim", "got -2"},
      {{.query_heads = 3}, "/layers/0000", "3 query heads cannot be shared out over 2 KV heads"},
      {{.query_heads = -1}, "query_heads", "got -1"},
      {{.query_heads = int64_t{1} << 40}, "query_heads", "got 1099511627776"},
      {{.window = -1}, "window", "got -1"},
      {{.dtype = "int8"}, "/layers/0000: attribute dtype", "expected one of f32, f16, bf16"},
      {{.dtype = "f16"}, "/layers/0000: attribute dtype", "got f16 but the data are f32"},
      {{.dtype = "bf16", .number = 0.1F}, "/layers/0000/key", "holds values that bf16 cannot"},
      {{.layers = {"0000", "0002"}}, "/layers/0001 is missing", "from 0000 to 0002"},
      {{.layers = {"0001"}}, "/layers/0000 is missing", "0001"},
      {{.layers = {"0", "1"}}, "/layers/0000 is missing", "from 0 to 1"},
      {{.layers = {"0000", "-001"}}, "/layers/0001 is missing", "-001"},
      {{.layers = {}}, "/layers", "holds no layer"},
      {{.key = {2, 12}}, "/layers/0000/key", "got shape [2, 12]; expected [kv_heads, tokens, head_dim]"},
      {{.key = {2, 4, 4}}, "/layers/0000/key", "/tokens/id has 3 tokens"},
      {{.value = {2, 4, 4}}, "/layers/0000/value", "/tokens/id has 3 tokens"},
      {{.value = {4, 3, 4}}, "/layers/0000", "the numbers of heads must agree"},
      {{.key = {0, 3, 4}}, "/layers/0000/key", "no size may be 0"},
      {{.key_element = Element::f64}, "/layers/0000/key", "got f64; expected f32 or f16"},
      {{.key_element = Element::i32}, "/layers/0000/key", "got i32; expected f32 or f16"},
      {{.dtype = "f16", .key_element = Element::f16}, "/layers/0000", "the key is f16 but the value is f32"},
      {{.ids = {1, 3}}, "/tokens/id", "expected i32 [tokens]"},
      {{.ids = {4}, .text = {"a", "b", "c", "d"}}, "/tokens", "4 ids, 3 positions"},
      {{.ids = {0}, .positions = {0}, .text = {}}, "/tokens/id", "no token"},
      {{.id_element = Element::i64}, "/tokens/id", "got i64 [3]; expected i32 [tokens]"},
      {{.first_id = -1}, "/tokens/id", "got -1 at 0"},
      {{.text = {"a", "b"}}, "/tokens", "2 texts"},
      {{.text = {"a", "\xFF", "c"}}, "/tokens/text", "token 1 is not UTF-8"},
      {{.without = "/tokens/id"}, "/tokens/id", "missing"},
      {{.without = "/tokens/position"}, "/tokens/position", "missing"},
      {{.layers = {}, .without = "/layers"}, "/layers", "missing"},
      {{.without = "/layers/0001/key"}, "/layers/0001/key", "missing"},
      {{.without = "/layers/0000/value"}, "/layers/0000/value", "missing"},
  };
  for (const Case& c : cases) {
    draw(file, c.sketch);
    const std::string message = message_of<DataError>([&] { read_cache(file); });
    CAPTURE(message);
    CHECK(holds(message, file.string()));
    CHECK(holds(message, c.object));
    CHECK(holds(message, c.what));
  }
}

TEST_CASE("[cache_file] what is not a cache file is named") {
  const TemporaryFolder folder;
  const auto refusal = [](const fs::path& file) { return message_of<DataError>([&] { read_cache(file); }); };
  CHECK(holds(refusal(folder / "none.h5"), "no such file"));
  CHECK(holds(refusal(folder.path()), "is a folder"));
  write_file(folder / "text.h5", "this is text, and no more than that");
  CHECK(holds(refusal(folder / "text.h5"), "is not an HDF5 file"));
  write_file(folder / "empty.h5", "");
  CHECK(holds(refusal(folder / "empty.h5"), "is not an HDF5 file"));
  Hdf5File::create(folder / "other.h5").close();
  CHECK(holds(refusal(folder / "other.h5"), "kvviz_schema is missing"));
}

// What a file may claim without storing anything: chunks that were never written.
void claim(const fs::path& path, const std::string& name, const std::vector<hsize_t>& shape, bool chunked) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  REQUIRE(file >= 0);
  REQUIRE(H5Ldelete(file, name.c_str(), H5P_DEFAULT) >= 0);
  const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  const std::vector<hsize_t> chunk(shape.size(), 2);
  if (chunked) REQUIRE(H5Pset_chunk(creation, static_cast<int>(chunk.size()), chunk.data()) >= 0);
  const hid_t type = shape.size() == 1 ? H5T_STD_I32LE : H5T_IEEE_F32LE;
  const hid_t made = H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  REQUIRE(made >= 0);
  H5Dclose(made);
  H5Pclose(creation);
  H5Sclose(space);
  H5Fclose(file);
}

TEST_CASE("[cache_file] sizes that the file does not store are refused before anything is allocated") {
  const TemporaryFolder folder;
  const fs::path file = folder / "cache.h5";
  for (const bool chunked : {true, false}) {
    draw(file, {});
    claim(file, "/tokens/id", {hsize_t{1} << 40}, chunked);
    CHECK(holds(message_of<DataError>([&] { CacheFile{file}; }),
                "/tokens/id: it claims 1099511627776 elements"));
    draw(file, {});
    claim(file, "/layers/0001/key", {2, 3, hsize_t{1} << 40}, chunked);
    CHECK(holds(message_of<DataError>([&] { CacheFile{file}; }), "/layers/0001/key: it claims"));
    draw(file, {});
    // Chunked, the number of elements does not fit into 64 bits; HDF5 itself refuses that for contiguous
    // data.
    const hsize_t many = hsize_t{1} << (chunked ? 31 : 25);
    claim(file, "/layers/0001/value", {many, 3, many}, chunked);
    CHECK(holds(message_of<DataError>([&] { CacheFile{file}; }), "/layers/0001/value: it claims"));
  }
}

// Reading must end in a DataError or in exactly the cache that was written; what changed must not be
// believed.
enum class Outcome { refused, same, wrong };
Outcome outcome(const fs::path& file, const KvCache& want) {
  try {
    const KvCache got = read_cache(file).cache;
    if (got.tokens.ids != want.tokens.ids || got.layers.size() != want.layers.size()) return Outcome::wrong;
    for (size_t i = 0; i < want.layers.size(); ++i)
      if (!got.layers[i].key.equal(want.layers[i].key) || !got.layers[i].value.equal(want.layers[i].value))
        return Outcome::wrong;
    return Outcome::same;
  } catch (const DataError&) {
    return Outcome::refused;
  }
}

TEST_CASE("[cache_file] no truncated file is read, no flipped bit is believed, nothing crashes") {
  const TemporaryFolder folder;
  const fs::path file = folder / "cache.h5";
  const KvCache cache = sample_cache(at::kFloat);
  for (const int gzip : {0, 1}) {
    write_cache(file, cache.view(), {.command = "kvviz capture"}, {.gzip = gzip});
    const std::string good = read_file(file);
    REQUIRE(outcome(file, cache) == Outcome::same);

    std::mt19937 random(7);
    for (int i = 0; i < 100; ++i) {
      const size_t length = random() % good.size();
      std::ofstream(file, std::ios::binary) << good.substr(0, length);
      CAPTURE(length);
      CHECK(outcome(file, cache) == Outcome::refused);
    }
    int refused = 0;
    for (int i = 0; i < 400; ++i) {
      std::string bytes = good;
      const size_t at = random() % bytes.size();
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
      std::ofstream(file, std::ios::binary) << bytes;
      CAPTURE(at);
      const Outcome o = outcome(file, cache);
      CHECK(o != Outcome::wrong);
      refused += o == Outcome::refused;
    }
    CHECK(refused > 300);
  }
}

}  // namespace
}  // namespace kvviz::io
