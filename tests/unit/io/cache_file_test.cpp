// SPDX-License-Identifier: MIT
#include "kvviz/io/cache_file.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <limits>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/version.hpp"
#include "kvviz/io/cache_writer.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"
#include "unit/io/sample_cache.hpp"

namespace kvviz::io {
namespace {
namespace fs = std::filesystem;
using test::holds;
using test::message_of;
using test::sample_cache;
using test::TemporaryFolder;

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.numel() > 0 &&
         std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

void check_same(const KvCache& got, const KvCache& want) {
  REQUIRE(got.layers.size() == want.layers.size());
  for (size_t i = 0; i < want.layers.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bytes(got.layers[i].key, want.layers[i].key));
    CHECK(same_bytes(got.layers[i].value, want.layers[i].value));
    CHECK(got.layers[i].query_heads == want.layers[i].query_heads);
    CHECK(got.layers[i].window == want.layers[i].window);
  }
  CHECK(got.tokens.ids == want.tokens.ids);
  CHECK(got.tokens.positions == want.tokens.positions);
  CHECK(got.tokens.text == want.tokens.text);
  CHECK(got.basis == want.basis);
  CHECK(got.pairing == want.pairing);
  CHECK(got.rotary_dim == want.rotary_dim);
}

// Every 16-bit pattern once, NaN payloads, infinities, zeros of both signs and subnormals among them.
template <class Bits>
at::Tensor every_pattern(at::ScalarType dtype) {
  at::Tensor tensor = at::empty({4, 128, 128}, at::TensorOptions().dtype(dtype));
  auto* bits = static_cast<Bits*>(tensor.data_ptr());
  for (uint32_t i = 0; i < 65536; ++i) {
    if constexpr (sizeof(Bits) == 2) {
      bits[i] = static_cast<Bits>(i);
    } else {
      bits[i] = i * 65537U;
    }
  }
  return tensor;
}

TEST_CASE("[cache_file] layers that differ in every number come back bit for bit") {
  const TemporaryFolder folder;
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const int gzip : {0, 6}) {
      CAPTURE(dtype);
      CAPTURE(gzip);
      const KvCache cache = sample_cache(dtype);
      write_cache(folder / "cache.h5", cache.view(), {}, {.gzip = gzip});
      check_same(read_cache(folder / "cache.h5").cache, cache);
    }
  }
}

TEST_CASE("[cache_file] every 16-bit pattern of f16 and bf16, and f32 with odd bits, survives") {
  const TemporaryFolder folder;
  KvCache cache = sample_cache(at::kHalf, 128);
  cache.rotary_dim = 0;
  cache.pairing = RopePairing::none;
  cache.layers.clear();
  cache.layers.push_back({every_pattern<uint16_t>(at::kHalf), every_pattern<uint16_t>(at::kHalf), 8, 0});
  cache.layers.push_back(
      {every_pattern<uint16_t>(at::kBFloat16), every_pattern<uint16_t>(at::kBFloat16), 8, 0});
  cache.layers.push_back({every_pattern<uint32_t>(at::kFloat), every_pattern<uint32_t>(at::kFloat), 8, 0});
  write_cache(folder / "cache.h5", cache.view(), {});
  check_same(read_cache(folder / "cache.h5").cache, cache);
}

TEST_CASE("[cache_file] tensors that are not contiguous are written as they are seen") {
  const TemporaryFolder folder;
  KvCache cache = sample_cache(at::kFloat, 4);
  for (LayerKv& layer : cache.layers)
    layer.key = layer.value = layer.value.transpose(0, 1).contiguous().transpose(0, 1);
  REQUIRE_FALSE(cache.layers[0].key.is_contiguous());
  cache.rotary_dim = 2;
  write_cache(folder / "cache.h5", cache.view(), {});
  for (LayerKv& layer : cache.layers) layer.key = layer.value = layer.key.contiguous();
  check_same(read_cache(folder / "cache.h5").cache, cache);
}

TEST_CASE("[cache_file] provenance, key basis and RoPE pairing are kept") {
  const TemporaryFolder folder;
  KvCache cache = sample_cache(at::kFloat);
  const CacheProvenance written{.command = "kvviz capture --prompt 'a \"b\"'",
                                .model = "models/tiny",
                                .model_sha256 = std::string(64, 'a'),
                                .architecture = "llama",
                                .bos = "on",
                                .created = "2025-01-31T12:00:00Z",
                                .kvviz_version = ""};
  for (const auto basis : {KeyBasis::pre_rope, KeyBasis::post_rope}) {
    for (const auto pairing : {RopePairing::none, RopePairing::half, RopePairing::interleaved}) {
      cache.basis = basis;
      cache.pairing = pairing;
      write_cache(folder / "cache.h5", cache.view(), written);
      const CacheContents read = read_cache(folder / "cache.h5");
      check_same(read.cache, cache);
      CHECK(read.provenance.command == written.command);
      CHECK(read.provenance.model == written.model);
      CHECK(read.provenance.model_sha256 == written.model_sha256);
      CHECK(read.provenance.architecture == written.architecture);
      CHECK(read.provenance.bos == "on");
      CHECK(read.provenance.created == written.created);
      CHECK(read.provenance.kvviz_version == version);
    }
  }
}

TEST_CASE("[cache_file] the same cache gives the same bytes") {
  const TemporaryFolder folder;
  const KvCache cache = sample_cache(at::kHalf);
  write_cache(folder / "a.h5", cache.view(), {.command = "x"});
  write_cache(folder / "b.h5", cache.view(), {.command = "x"});
  CHECK(read_file(folder / "a.h5") == read_file(folder / "b.h5"));
}

TEST_CASE("[cache_file] one layer can be read alone") {
  const TemporaryFolder folder;
  const KvCache cache = sample_cache(at::kBFloat16);
  write_cache(folder / "cache.h5", cache.view(), {});
  const CacheFile file(folder / "cache.h5");
  REQUIRE(file.layers().size() == 3);
  CHECK(file.layers()[1].key_shape == std::vector<int64_t>{1, 5, 8});
  CHECK(file.layers()[1].value_shape == std::vector<int64_t>{1, 5, 6});
  CHECK(bool(file.layers()[1].dtype == at::kBFloat16));
  CHECK(file.header().tokens.ids.size() == 5);
  CHECK(same_bytes(file.layer(1).key, cache.layers[1].key));
  CHECK(file.layer(1).window == 3);
  CHECK(holds(message_of<DataError>([&] { file.layer(3); }), "got layer 3; the file has 3"));
}

TEST_CASE("[cache_file] a token of a zero byte is spelt out, long and empty pieces are kept") {
  const TemporaryFolder folder;
  KvCache cache = sample_cache(at::kFloat);
  cache.tokens.text = {std::string(1, '\0'), "", std::string(300, 'x'), " ", "\t"};
  write_cache(folder / "cache.h5", cache.view(), {});
  cache.tokens.text[0] = "<0x00>";
  CHECK(read_cache(folder / "cache.h5").cache.tokens.text == cache.tokens.text);
}

TEST_CASE("[cache_file] what cannot be written is refused and leaves the old file alone") {
  const TemporaryFolder folder;
  const fs::path file = folder / "cache.h5";
  const KvCache good = sample_cache(at::kFloat);
  write_cache(file, good.view(), {});
  const std::string before = read_file(file);

  KvCache cache = good;
  cache.tokens.text[1] = "\xE4";
  CHECK(holds(message_of<DataError>([&] { write_cache(file, cache.view(), {}); }), "token 1 is not UTF-8"));
  cache = good;
  cache.tokens.ids.pop_back();
  CHECK(message_of<DataError>([&] { write_cache(file, cache.view(), {}); }) != "");
  CHECK(holds(message_of<UsageError>([&] { write_cache(file, good.view(), {}, {.gzip = 10}); }),
              "expected 0 to 9"));
  CHECK(read_file(file) == before);
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("[cache_file] a full disk is an error, not half a file") {
  const TemporaryFolder folder;
  const KvCache cache = sample_cache(at::kFloat, 4000);
  write_cache(folder / "whole.h5", cache.view(), {});
  const auto size = static_cast<rlim_t>(fs::file_size(folder / "whole.h5"));
  fs::remove(folder / "whole.h5");

  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  for (const rlim_t limit : {rlim_t{10}, rlim_t{3000}, rlim_t{20000}, size / 2, size - 1}) {
    CAPTURE(limit);
    const rlimit small{.rlim_cur = limit, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    const std::string message =
        message_of<DataError>([&] { write_cache(folder / "cache.h5", cache.view(), {}); });
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK(holds(message, "File too large"));
    CHECK(fs::is_empty(folder.path()));
  }
  std::signal(SIGXFSZ, old_handler);
  write_cache(folder / "cache.h5", cache.view(), {});
  check_same(read_cache(folder / "cache.h5").cache, cache);
}

}  // namespace
}  // namespace kvviz::io
