// SPDX-License-Identifier: MIT
// Analyses widen one layer at a time: what they need beside the cache does not grow with the number of
// layers.
#include <ATen/ATen.h>
#include <fstream>
#include <string>

#include "kvviz/analysis/channels.hpp"
#include "kvviz/analysis/distribution.hpp"
#include "kvviz/analysis/layers.hpp"
#include "kvviz/analysis/tokens.hpp"
#include "unit/analysis/caches.hpp"

#include <doctest/doctest.h>  // after libtorch, whose logging has a CHECK of its own

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

/// A line of /proc/self/status, in bytes.
int64_t status_bytes(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    if (word != name) continue;
    int64_t kib = 0;
    file >> kib;
    return kib * 1024;
  }
  FAIL("no " << name << " in /proc/self/status");
  return 0;
}

/// Peak resident bytes of `work` above those before it.
template <class Work>
int64_t peak_of(const Work& work) {
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts again from here
  const int64_t before = status_bytes("VmRSS:");
  work();
  return status_bytes("VmHWM:") - before;
}

}  // namespace

TEST_CASE("[memory] extra memory is O(largest layer): 32 bf16 layers need no more than a few widened ones") {
  constexpr test::Shape shape{4, 1024, 128};
  constexpr int64_t layers_count = 32;
  constexpr int64_t widened_layer =
      2 * shape.heads * shape.tokens * shape.dim * 4;  // 4 MiB; the whole cache widened is 128 MiB
  KvCache cache;
  for (int64_t l = 0; l < layers_count; ++l) {
    LayerKv layer;
    layer.key = at::ones({shape.heads, shape.tokens, shape.dim}, at::kBFloat16);
    layer.value = at::ones({shape.heads, shape.tokens, shape.dim}, at::kBFloat16);
    layer.key.select(0, 1).fill_(2);
    layer.value.select(2, 1).fill_(3);
    cache.layers.push_back(layer);
  }
  const auto analyze = [](const KvView& view) {
    const HeadsResult head_rows = heads(view, {});
    const LayersResult layer_rows = layers(view, {}, head_rows);
    const TokensResult token_rows = tokens(view, {});
    const ChannelsResult channel_rows = channels(view, {});
    const DistributionResult bins = distribution(view, {});
    CHECK(layer_rows.rows.size() == view.layers.size());
  };
  KvView one = cache.view();
  one.layers = one.layers.first(1);
  analyze(one);  // threads, buffers of the libraries
  const int64_t peak = peak_of([&] { analyze(cache.view()); });
  // The results themselves (patterns per token and dimension, channels of every head) come to about 10 MiB
  // here.
  CHECK(peak > widened_layer / 2);
#ifdef __SANITIZE_ADDRESS__
  MESSAGE("the upper bound is not checked: AddressSanitizer keeps freed memory");
#else
  CHECK(peak < 8 * widened_layer);
#endif
}
