// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <random>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/cache_file.hpp"
#include "kvviz/io/cache_writer.hpp"
#include "kvviz/io/hdf5.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"
#include "unit/io/sample_cache.hpp"

namespace kvviz::io {
namespace {
namespace fs = std::filesystem;
using test::holds;
using test::message_of;
using test::sample_cache;
using test::sample_losses;
using test::sample_queries;
using test::TemporaryFolder;

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.numel() > 0 &&
         std::memcmp(a.contiguous().data_ptr(), b.contiguous().data_ptr(), a.nbytes()) == 0;
}

struct Parts {
  KvCache cache;
  std::vector<LayerQueries> queries;
  std::optional<TokenLosses> losses;
};

Parts parts_of(at::ScalarType dtype) {
  Parts parts{.cache = sample_cache(dtype), .queries = sample_queries(dtype), .losses = sample_losses()};
  parts.cache.layers[2].query_heads = 8;
  return parts;
}

void write(const fs::path& file, const Parts& parts, int gzip = 0) {
  CacheWriter writer(file, {.gzip = gzip});
  for (size_t i = 0; i < parts.queries.size(); ++i) writer.add_queries(i, parts.queries[i]);
  if (parts.losses) writer.add_losses(*parts.losses);
  writer.finish(parts.cache.view(), {.command = "kvviz capture --queries"});
}

TEST_CASE("[cache_queries] queries, what attention takes beside them, and losses come back bit for bit") {
  const TemporaryFolder folder;
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const int gzip : {0, 6}) {
      CAPTURE(dtype);
      CAPTURE(gzip);
      const Parts parts = parts_of(dtype);
      write(folder / "cache.h5", parts, gzip);
      const CacheFile file(folder / "cache.h5");
      REQUIRE(file.has_queries());
      for (size_t i = 0; i < parts.queries.size(); ++i) {
        CAPTURE(i);
        const LayerQueries got = file.queries(i), &want = parts.queries[i];
        CHECK(same_bytes(got.query, want.query));
        CHECK(got.terms.scale == want.terms.scale);
        CHECK(got.terms.softcap == want.terms.softcap);
        CHECK(got.terms.alibi_slopes == want.terms.alibi_slopes);
        CHECK(file.layers()[i].query->shape == want.query.sizes().vec());
        CHECK(same_bytes(file.layer(i).key, parts.cache.layers[i].key));
        CHECK(same_bytes(file.layer(i).value, parts.cache.layers[i].value));
      }
      REQUIRE(file.losses().has_value());
      CHECK(file.losses()->nll == parts.losses->nll);
      CHECK(file.losses()->top1 == parts.losses->top1);
      CHECK(holds(message_of<DataError>([&] { file.queries(3); }), "got layer 3; the file has 3"));
    }
  }
}

TEST_CASE("[cache_queries] queries that are not contiguous are written as they are seen") {
  const TemporaryFolder folder;
  Parts parts = parts_of(at::kFloat);
  for (LayerQueries& layer : parts.queries)
    layer.query = layer.query.transpose(0, 1).contiguous().transpose(0, 1);
  REQUIRE_FALSE(parts.queries[0].query.is_contiguous());
  write(folder / "cache.h5", parts);
  const CacheFile file(folder / "cache.h5");
  for (size_t i = 0; i < 3; ++i) CHECK(same_bytes(file.queries(i).query, parts.queries[i].query));
}

TEST_CASE("[cache_queries] a file without them is what it was; losses may be there alone, queries too") {
  const TemporaryFolder folder;
  const fs::path file = folder / "cache.h5";
  Parts parts = parts_of(at::kFloat);
  parts.queries.clear();
  write(file, parts);
  CHECK_FALSE(CacheFile(file).has_queries());
  CHECK(CacheFile(file).losses().has_value());
  CHECK(holds(message_of<DataError>([&] { CacheFile(file).queries(0); }), "capture again with --queries"));

  parts.losses.reset();
  write(file, parts);
  CHECK_FALSE(CacheFile(file).losses().has_value());
  const std::string bare = read_file(file);
  write_cache(file, parts.cache.view(), {.command = "kvviz capture --queries"});
  CHECK(read_file(file) == bare);

  parts.queries = sample_queries(at::kFloat);
  write(file, parts);
  CHECK(CacheFile(file).has_queries());
  CHECK(read_cache(file).cache.layers[1].key.equal(parts.cache.layers[1].key));
}

TEST_CASE("[cache_queries] the same parts give the same bytes") {
  const TemporaryFolder folder;
  write(folder / "a.h5", parts_of(at::kHalf));
  write(folder / "b.h5", parts_of(at::kHalf));
  CHECK(read_file(folder / "a.h5") == read_file(folder / "b.h5"));
}

TEST_CASE("[cache_queries] what does not fit the cache is refused and leaves the old file alone") {
  const TemporaryFolder folder;
  const fs::path file = folder / "cache.h5";
  write(file, parts_of(at::kFloat));
  const std::string before = read_file(file);
  struct Case {
    std::function<void(Parts&)> change;
    const char* what;
  };
  const at::Tensor odd = test::pattern({3, 5, 4}, at::kFloat, 0);
  const Case cases[] = {
      {[](Parts& p) { p.queries.pop_back(); }, "got the queries of 2 layers"},
      {[](Parts& p) { p.queries.push_back(p.queries[0]); }, "expected those of all 3"},
      {[&](Parts& p) { p.queries[0].query = odd; }, "got [3, 5, 4]; of these keys they are [4, 5, 4]"},
      {[](Parts& p) { p.queries[1].query = p.queries[0].query; }, "of these keys they are [4, 5, 8]"},
      {[](Parts& p) { p.queries[0].query = p.queries[0].query.to(at::kHalf); }, "f16 but the keys are f32"},
      {[](Parts& p) { p.queries[0].query = p.queries[0].query[0]; }, "expected [query_heads, tokens"},
      {[](Parts& p) { p.queries[0].terms.scale = nan_value; }, "scale: got"},
      {[](Parts& p) { p.queries[0].terms.scale = 0; }, "scale: got 0"},
      {[](Parts& p) { p.queries[0].terms.softcap = -1; }, "softcap: got -1"},
      {[](Parts& p) { p.queries[1].terms.alibi_slopes.pop_back(); }, "got 3 ALiBi slopes"},
      {[](Parts& p) { p.queries[1].terms.alibi_slopes[2] = NAN; }, "slopes hold NaN"},
      {[](Parts& p) { p.cache.basis = KeyBasis::pre_rope; }, "keys before RoPE"},
      {[](Parts& p) { p.losses->nll.pop_back(); }, "got 3 negative log-likelihoods and 4 top-1 marks"},
      {[](Parts& p) { p.losses->nll[1] = nan_value; }, "hold NaN"},
      {[](Parts& p) { p.losses->top1[1] = 2; }, "other numbers than 0 and 1"},
  };
  for (const Case& c : cases) {
    Parts parts = parts_of(at::kFloat);
    c.change(parts);
    const std::string message = message_of<DataError>([&] { write(file, parts); });
    CAPTURE(message);
    CAPTURE(c.what);
    CHECK(holds(message, c.what));
    CHECK(read_file(file) == before);
  }
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

// A file put together by hand, so that any part of the queries can be wrong.
struct Sketch {
  std::vector<int64_t> query = {4, 3, 4};
  std::string only = "";  // the one layer that has queries; empty: both
  std::string basis = "post_rope";
  Element query_element = Element::f32, nll_element = Element::f64;
  std::optional<double> scale = 0.5, softcap = 0;
  std::vector<int64_t> slopes = {};
  float slope = 0.25F, number = 0.5F;
  std::string dtype = "f32";
  int64_t query_heads = 4;
  std::vector<int64_t> nll = {2}, top1 = {2};
  double loss = 1.5;
  int32_t hit = 1;
  std::string text_for = "";  // this attribute is a text
};

void draw_layer(Hdf5File& out, const std::string& layer, const Sketch& s) {
  const std::string group = "/layers/" + layer;
  out.make_group(group);
  out.write_attribute(group, "query_heads", s.query_heads);
  out.write_attribute(group, "dtype", s.dtype);
  const std::vector<double> halves(1000, 0.5);  // read as any element: finite
  const std::vector<float> floats(1000, 0.5F), queries(1000, s.number), slopes(100, s.slope);
  const std::vector<int64_t> shape = {2, 3, 4};
  for (const char* name : {"/key", "/value"}) out.write(group + name, shape, Element::f32, floats.data(), {});
  if (!s.only.empty() && s.only != layer) return;
  const bool single = s.query_element == Element::f32;
  out.write(group + "/query", s.query, s.query_element,
            single ? static_cast<const void*>(queries.data()) : halves.data(), {});
  if (s.scale) out.write_attribute(group, "scale", *s.scale);
  if (s.softcap) out.write_attribute(group, "softcap", *s.softcap);
  if (!s.slopes.empty()) out.write(group + "/alibi_slopes", s.slopes, Element::f32, slopes.data(), {});
  if (!s.text_for.empty()) out.write_attribute(group, s.text_for, "a half");
}

void draw(const fs::path& path, const Sketch& s) {
  Hdf5File out = Hdf5File::create(path);
  out.write_attribute("/", "kvviz_schema", int64_t{1});
  out.write_attribute("/", "key_basis", s.basis);
  out.make_group("/tokens");
  const int64_t tokens = 3;
  const std::vector<int32_t> ids(3, 1), hits(100, s.hit);
  const std::vector<double> losses(100, s.loss);
  out.write("/tokens/id", {&tokens, 1}, Element::i32, ids.data(), {});
  out.write("/tokens/position", {&tokens, 1}, Element::i32, ids.data(), {});
  if (!s.nll.empty()) out.write("/tokens/nll", s.nll, s.nll_element, losses.data(), {});
  if (!s.top1.empty()) out.write("/tokens/top1", s.top1, Element::i32, hits.data(), {});
  for (const char* layer : {"0000", "0001"}) draw_layer(out, layer, s);
  out.close();
}

void read_all(const fs::path& path) {
  const CacheFile file(path);
  for (size_t i = 0; i < file.layers().size(); ++i) {
    file.layer(i);
    if (file.has_queries()) file.queries(i);
  }
}

TEST_CASE("[cache_queries] the hand-made file is valid until a part of it is wrong") {
  const TemporaryFolder folder;
  const fs::path path = folder / "cache.h5";
  draw(path, {});
  CHECK(CacheFile(path).queries(1).terms.scale == 0.5);
  draw(path, {.softcap = {}, .slopes = {4}, .nll = {}, .top1 = {}});
  CHECK(CacheFile(path).queries(1).terms.softcap == 0);
  CHECK(CacheFile(path).queries(1).terms.alibi_slopes == std::vector<float>(4, 0.25F));
  CHECK_FALSE(CacheFile(path).losses().has_value());
  draw(path, {.dtype = "bf16"});
  CHECK(bool(CacheFile(path).queries(0).query.scalar_type() == at::kBFloat16));

  struct Case {
    Sketch sketch;
    const char *object, *what;
  };
  const double infinite = std::numeric_limits<double>::infinity();
  const Case cases[] = {
      {{.query = {4, 12}}, "/layers/0000/query", "expected [query_heads, tokens, head_dim]"},
      {{.query = {4, 4, 4}}, "/layers/0000/query", "/tokens/id has 3 tokens"},
      {{.query = {0, 3, 4}}, "/layers/0000/query", "no size may be 0"},
      {{.query = {4, 3, 6}}, "/layers/0000/query", "the head_dim must agree"},
      {{.query = {3, 3, 4}}, "/layers/0000/query", "3 query heads cannot be shared out over 2 KV heads"},
      {{.query = {2, 3, 4}}, "/layers/0000/query", "the attribute query_heads of /layers/0000 is 4"},
      {{.query_heads = 0}, "/layers/0000/query", "the attribute query_heads of /layers/0000 is 0"},
      {{.query_element = Element::f64}, "/layers/0000/query", "got f64; expected f32 or f16"},
      {{.query_element = Element::f16}, "/layers/0000", "the query is f16 but the key is f32"},
      {{.only = "0000"}, "/layers/0001/query is missing", "of all layers or of none"},
      {{.only = "0001"}, "/layers/0001/query is there", "of all layers or of none"},
      {{.basis = "pre_rope"}, "/layers/0000/query", "the keys are before RoPE"},
      {{.scale = {}}, "/layers/0000", "the attribute scale is missing"},
      {{.scale = nan_value}, "/layers/0000", "scale: got"},
      {{.scale = infinite}, "/layers/0000", "scale: got"},
      {{.scale = 1e300}, "/layers/0000", "scale: got"},
      {{.scale = 0}, "/layers/0000", "scale: got 0"},
      {{.scale = -0.5}, "/layers/0000", "scale: got -0.5"},
      {{.softcap = nan_value}, "/layers/0000", "softcap: got"},
      {{.softcap = -1}, "/layers/0000", "softcap: got -1"},
      {{.slopes = {3}}, "/layers/0000/alibi_slopes", "expected f32 [4]"},
      {{.slopes = {2, 2}}, "/layers/0000/alibi_slopes", "expected f32 [4]"},
      {{.slopes = {4}, .slope = NAN}, "/layers/0000", "slopes hold NaN"},
      {{.number = 0.1F, .dtype = "bf16"}, "/layers/0000/query", "holds values that bf16 cannot"},
      {{.text_for = "scale"}, "/layers/0000: attribute scale", "expected one number"},
      {{.nll_element = Element::f32}, "/tokens/nll", "got f32 [2]; expected f64 [2]"},
      {{.nll = {3}}, "/tokens/nll", "expected f64 [2]"},
      {{.nll = {}}, "/tokens/top1", "is there without /tokens/nll"},
      {{.top1 = {}}, "/tokens/nll", "is there without /tokens/top1"},
      {{.top1 = {3}}, "/tokens/top1", "expected i32 [2]"},
      {{.loss = nan_value}, "/tokens", "hold NaN"},
      {{.hit = 2}, "/tokens/top1", "got 2; expected 0 or 1"},
  };
  for (const Case& c : cases) {
    draw(path, c.sketch);
    const std::string message = message_of<DataError>([&] { read_all(path); });
    CAPTURE(message);
    CAPTURE(c.what);
    CHECK(holds(message, path.string()));
    CHECK(holds(message, c.object));
    CHECK(holds(message, c.what));
  }
}

// Reading must end in a DataError or in exactly what was written.
enum class Outcome { refused, same, wrong };
Outcome outcome(const fs::path& path, const Parts& want) {
  try {
    const CacheFile file(path);
    bool same = file.has_queries() && file.losses() && file.losses()->nll == want.losses->nll &&
                file.losses()->top1 == want.losses->top1;
    for (size_t i = 0; same && i < want.queries.size(); ++i) {
      const LayerQueries got = file.queries(i);
      same = got.query.equal(want.queries[i].query) && got.terms.scale == want.queries[i].terms.scale &&
             got.terms.softcap == want.queries[i].terms.softcap &&
             got.terms.alibi_slopes == want.queries[i].terms.alibi_slopes &&
             file.layer(i).key.equal(want.cache.layers[i].key);
    }
    return same ? Outcome::same : Outcome::wrong;
  } catch (const DataError&) {
    return Outcome::refused;
  }
}

TEST_CASE("[cache_queries] no truncated file is read, no flipped bit is believed") {
  const TemporaryFolder folder;
  const fs::path path = folder / "cache.h5";
  const Parts parts = parts_of(at::kFloat);
  write(path, parts, 1);
  const std::string good = read_file(path);
  REQUIRE(outcome(path, parts) == Outcome::same);
  std::mt19937 random(11);
  for (int i = 0; i < 50; ++i) {
    const size_t length = random() % good.size();
    std::ofstream(path, std::ios::binary) << good.substr(0, length);
    CHECK(outcome(path, parts) == Outcome::refused);
  }
  for (int i = 0; i < 300; ++i) {
    std::string bytes = good;
    const size_t at = random() % bytes.size();
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
    std::ofstream(path, std::ios::binary) << bytes;
    CAPTURE(at);
    CHECK(outcome(path, parts) != Outcome::wrong);
  }
}

}  // namespace
}  // namespace kvviz::io
