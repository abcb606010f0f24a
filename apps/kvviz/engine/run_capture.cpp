// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/file_identity.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/io/cache_writer.hpp"
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

void check_finite(const at::Tensor& x, const char* what, int64_t layer) {
  require(x.isfinite().all().item<bool>(), "layer ", layer, ": the ", what,
          " hold NaN or infinite numbers: the model computes them on this text, or they do not fit the "
          "dtype; try --cache-dtype f32 or bf16");
}

// Queries go to the file as the layers run: beside the cache they are not held.
RunRequest request_of(const CaptureOptions& options, io::CacheWriter& writer) {
  RunRequest request{.attention = {}, .score = options.queries, .quiet = options.call.quiet};
  if (!options.queries) return request;
  request.on_qkv = [&writer, dtype = dtype_of(options.cache_dtype)](const LayerQkv& x) {
    const at::Tensor query = x.query[0].to(dtype);
    check_finite(query, "queries", x.layer);
    const AttentionTerms terms{x.spec.scale, x.spec.softcap, x.spec.alibi_slopes};
    writer.add_queries(static_cast<size_t>(x.layer), {query, terms});
  };
  return request;
}

void round_and_check(KvCache& cache, at::ScalarType dtype) {
  for (size_t i = 0; i < cache.layers.size(); ++i) {
    LayerKv& layer = cache.layers[i];
    layer.key = layer.key.to(dtype).contiguous();
    layer.value = layer.value.to(dtype).contiguous();
    check_finite(layer.key, "keys", static_cast<int64_t>(i));
    check_finite(layer.value, "values", static_cast<int64_t>(i));
  }
}

int capture(const CaptureOptions& options) {
  require_writable(options.out);
  set_threads(options.call.threads);
  OpenedFolder opened = open_folder(options.model, options.call);
  const TextInput text = read_text(options.text, *opened.tokenizer, opened.config, options.call.data);
  const int64_t tokens = std::ssize(text.tokens.ids);
  const int64_t at_once = options.queries ? tokens : std::min(tokens, Session::piece_tokens);
  const Runner runner = load_runner(std::move(opened), tokens, at_once);
  const auto file = options.out / "caches/cache.h5";
  io::CacheWriter writer(file, {.gzip = options.gzip});
  Subject subject = run_model(runner, text, request_of(options, writer));
  round_and_check(subject.cache, dtype_of(options.cache_dtype));
  if (subject.scores) writer.add_losses({subject.scores->nll, subject.scores->top1});
  require_unchanged_inputs();
  writer.finish(subject.cache.view(), {.command = options.call.command_line,
                                       .model = subject.origin.model,
                                       .model_sha256 = subject.origin.model_sha256,
                                       .architecture = subject.origin.architecture,
                                       .bos = subject.origin.bos,
                                       .created = now()});
  const LayerKv& layer = subject.cache.layers.front();
  std::printf("%s: %zu layers, %lld KV heads, %lld tokens, head_dim %lld, %s, %lld bytes%s\n",
              file.lexically_normal().c_str(), subject.cache.layers.size(),
              static_cast<long long>(layer.kv_heads()), static_cast<long long>(layer.tokens()),
              static_cast<long long>(layer.head_dim()), options.cache_dtype.c_str(),
              static_cast<long long>(subject.cache.bytes()), options.queries ? ", and the queries" : "");
  return 0;
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_capture(const kvviz::CaptureOptions& options) {
  return kvviz::guarded([&] { return kvviz::capture(options); });
}
