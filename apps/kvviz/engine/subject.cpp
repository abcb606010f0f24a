// SPDX-License-Identifier: MIT
#include "kvviz/engine/subject.hpp"

#include <algorithm>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/free_memory.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/formats/weight_files.hpp"
#include "kvviz/hub/model_name.hpp"
#include "kvviz/kernels/bf16_product.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/model/memory.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/paths.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

std::string size(int64_t bytes) {
  return size_text(static_cast<double>(bytes));
}

void refuse_what_does_not_fit(const OpenedFolder& opened, int64_t tokens, int64_t at_once,
                              at::ScalarType dtype) {
  const auto need = [&](at::ScalarType type) {
    // On a device of their own the weights take none of this memory.
    const int64_t bytes = opened.device.is_cpu() ? static_cast<int64_t>(at::elementSize(type)) : 0;
    return model_memory(opened.config, tokens, at_once, bytes);
  };
  const ModelMemory memory = need(dtype);
  const FreeMemory free = free_for_tensors(kernels::thread_count());
  if (memory.total() <= free.bytes) return;
  const int64_t halved = need(at::kBFloat16).total();
  const std::string smaller = dtype != at::kFloat ? std::string()
                              : halved <= free.bytes
                                  ? cat("--dtype bf16 needs ", size(halved), "; ")
                                  : cat("--dtype bf16 would still need ", size(halved), "; ");
  throw DataError(cat(opened.name, " needs about ", size(memory.total()), " of memory for ", tokens,
                      " tokens (weights ", size(memory.weights), " in ", dtype_name(dtype), ", cache ",
                      size(memory.cache), ", forward pass ", size(memory.working), "); ", free.limit,
                      " leaves ", size(free.bytes), ". ", smaller,
                      "a shorter text needs less; --force tries all the same"));
}

void require_weights_of_hub(const OpenedFolder& opened) {
  const bool pulled =
      hub::is_model_name(opened.name) && opened.folder != opened.name && opened.name != "demo";
  require(!pulled || find_weights(opened.folder) ||
              std::filesystem::exists(opened.folder / "adapter_config.json"),
          opened.name,
          " is in the local Hugging Face cache without weights (--no-weights); kvviz models pull ",
          opened.name, " fetches them");
}

}  // namespace

OpenedFolder open_folder(const ModelOptions& options, const CallOptions& call) {
  const auto folder = model_folder(options.model, call.data);
  const at::Device device = device_of(options.device);
  ModelConfig config = load_config(folder);
  auto tokenizer = open_tokenizer_if_any(folder, config.vocabulary);
  return {folder, options.model, std::move(config), std::move(tokenizer), options, device, call.quiet};
}

Runner load_runner(OpenedFolder opened, int64_t tokens, int64_t at_once,
                   std::function<void(int64_t done, int64_t total)> on_bytes) {
  const at::ScalarType dtype = opened.options.dtype == "auto" ? at::kFloat : dtype_of(opened.options.dtype);
  require_weights_of_hub(opened);
  if (!opened.options.force) refuse_what_does_not_fit(opened, tokens, at_once > 0 ? at_once : tokens, dtype);
  Progress progress("reading the weights", ProgressUnit::bytes, opened.quiet);
  if (!on_bytes) on_bytes = [&](int64_t done, int64_t total) { progress.update(done, total); };
  LoadedModel model = load_model(opened.folder, {dtype, opened.device, std::move(on_bytes)});
  auto hash = std::async(std::launch::async, [files = model.files] { return sha256_files(files); }).share();
  return {std::move(model), std::move(opened.tokenizer), std::move(opened.name), std::move(hash)};
}

// Where oneDNN multiplies, rows are rounded to bf16 too: the numbers depend on the processor.
std::string products_of_bf16(const LoadedModel& model) {
  if (model.dtype != "bf16" || !model.decoder.device().is_cpu()) return "";
  const std::string method = kernels::bf16_products_method();
  return kernels::bf16_products() ? method : "widened to f32: " + method;
}

SubjectOrigin origin_of(const Runner& runner) {
  return {.model = runner.folder,
          .architecture = runner.model.decoder.config().architecture,
          .dtype = runner.model.dtype,
          .stored_dtype = runner.model.stored_dtype,
          .device = runner.model.decoder.device().str(),
          .model_sha256 = runner.model_sha256.get(),
          .tokenizer_sha256 = runner.tokenizer->hash(),
          .text = "",
          .text_sha256 = "",
          .bos = "",
          .threads = kernels::thread_count(),
          .bf16_products = products_of_bf16(runner.model)};
}

SubjectOrigin origin_of(const Runner& runner, const TextInput& text) {
  SubjectOrigin origin = origin_of(runner);
  origin.text = text.description;
  origin.text_sha256 = text.sha256;
  origin.bos = text.bos ? "on" : "off";
  return origin;
}

Subject run_model(const Runner& runner, const TextInput& text, const RunRequest& request) {
  const Decoder& decoder = runner.model.decoder;
  const auto layers = static_cast<int64_t>(decoder.config().layers.size());
  Subject subject;
  Session session(decoder);
  subject.has_model = true;
  Session::Watch watch;
  watch.attention = request.attention;
  watch.probe = request.probe;
  watch.on_qkv = request.on_qkv;
  watch.all_hidden = request.score;
  Progress progress("running the model", layers * Session::pieces(std::ssize(text.tokens.ids), watch),
                    request.quiet);
  int64_t done = 0;
  if (request.attention.statistics) subject.attention.resize(static_cast<size_t>(layers));
  watch.on_attention = [&](int layer, std::vector<kernels::HeadAttention> heads) {
    subject.attention[static_cast<size_t>(layer)] = std::move(heads);
  };
  watch.on_layer = [&] { progress.update(++done); };
  const at::Tensor hidden = session.extend(text.tokens.ids, watch);
  if (request.score && text.tokens.ids.size() > 1) subject.scores = score(decoder, hidden, text.tokens.ids);
  subject.cache = session.cache(session.tokens());
  subject.cache.tokens = text.tokens;
  subject.origin = origin_of(runner, text);
  return subject;
}

}  // namespace kvviz
