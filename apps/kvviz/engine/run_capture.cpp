// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/file_identity.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/io/cache_file.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

// SOURCE_DATE_EPOCH: the time that reproducible runs take for now.
std::string now() {
  const char* fixed = std::getenv("SOURCE_DATE_EPOCH");
  const std::time_t time = fixed == nullptr ? std::time(nullptr) : std::strtoll(fixed, nullptr, 10);
  char text[32];
  std::tm utc{};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&time, &utc));
  return text;
}

void check_finite(const KvCache& cache) {
  for (size_t i = 0; i < cache.layers.size(); ++i)
    for (const at::Tensor* x : {&cache.layers[i].key, &cache.layers[i].value})
      require(x->isfinite().all().item<bool>(), "layer ", i,
              " of the cache holds NaN or infinite numbers: the model computes them on this text, or they do "
              "not fit the "
              "dtype; try --cache-dtype f32 or bf16");
}

int capture(const CaptureOptions& options) {
  require_writable(options.out);
  set_threads(options.call.threads);
  OpenedFolder opened = open_folder(options.model, options.call);
  const TextInput text = read_text(options.text, *opened.tokenizer, opened.config, options.call.data);
  const int64_t tokens = std::ssize(text.tokens.ids);
  const Runner runner = load_runner(std::move(opened), tokens, std::min(tokens, Session::piece_tokens));
  Subject subject = run_model(runner, text, {.score = false, .quiet = options.call.quiet});
  for (LayerKv& layer : subject.cache.layers) {
    layer.key = layer.key.to(dtype_of(options.cache_dtype)).contiguous();
    layer.value = layer.value.to(dtype_of(options.cache_dtype)).contiguous();
  }
  check_finite(subject.cache);
  require_unchanged_inputs();
  const auto file = options.out / "caches/cache.h5";
  io::write_cache(file, subject.cache.view(),
                  {.command = options.call.command_line,
                   .model = subject.origin.model,
                   .model_sha256 = subject.origin.model_sha256,
                   .architecture = subject.origin.architecture,
                   .bos = subject.origin.bos,
                   .created = now()},
                  {.gzip = options.gzip});
  const LayerKv& layer = subject.cache.layers.front();
  std::printf("%s: %zu layers, %lld KV heads, %lld tokens, head_dim %lld, %s, %lld bytes\n",
              file.lexically_normal().c_str(), subject.cache.layers.size(),
              static_cast<long long>(layer.kv_heads()), static_cast<long long>(layer.tokens()),
              static_cast<long long>(layer.head_dim()), options.cache_dtype.c_str(),
              static_cast<long long>(subject.cache.bytes()));
  return 0;
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_capture(const kvviz::CaptureOptions& options) {
  return kvviz::guarded([&] { return kvviz::capture(options); });
}
