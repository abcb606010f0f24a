// SPDX-License-Identifier: MIT
#include "kvviz/engine/subject.hpp"

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/io/cache_file.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/paths.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {

OpenedFolder open_folder(const ModelOptions& options, const CallOptions& call) {
  const auto folder = model_folder(options.model, call.data);
  return {folder, options.model, load_config(folder), open_tokenizer(folder)};
}

Runner load_runner(OpenedFolder opened) {
  LoadedModel model = load_model(opened.folder);
  auto hash = std::async(std::launch::async, [files = model.files] { return sha256_files(files); }).share();
  return {std::move(model), std::move(opened.tokenizer), std::move(opened.name), std::move(hash)};
}

SubjectOrigin origin_of(const Runner& runner, const TextInput& text) {
  return {.model = runner.folder,
          .architecture = runner.model.decoder.config().architecture,
          .dtype = runner.model.stored_dtype,
          .model_sha256 = runner.model_sha256.get(),
          .tokenizer_sha256 = runner.tokenizer->hash(),
          .text = text.description,
          .text_sha256 = text.sha256,
          .bos = text.bos ? "on" : "off"};
}

Subject run_model(const Runner& runner, const TextInput& text, const RunRequest& request) {
  const Decoder& decoder = runner.model.decoder;
  const auto layers = static_cast<int64_t>(decoder.config().layers.size());
  Subject subject;
  Session session(decoder);
  subject.has_model = true;
  Progress progress("running the model", layers, request.quiet);
  Session::Watch watch;
  watch.attention = request.attention;
  watch.probe = request.probe;
  if (request.attention.statistics) subject.attention.resize(static_cast<size_t>(layers));
  watch.on_attention = [&](int layer, std::vector<kernels::HeadAttention> heads) {
    subject.attention[static_cast<size_t>(layer)] = std::move(heads);
  };
  watch.on_layer = [&](int layer) { progress.update(layer + 1); };
  const at::Tensor hidden = session.extend(text.tokens.ids, watch);
  if (request.score && text.tokens.ids.size() > 1) subject.scores = score(decoder, hidden, text.tokens.ids);
  subject.cache = session.cache(session.tokens());
  subject.cache.tokens = text.tokens;
  subject.origin = origin_of(runner, text);
  return subject;
}

SubjectOrigin origin_of_all(const Runner& runner, std::span<const TextInput> texts) {
  SubjectOrigin origin = origin_of(runner, texts.front());
  if (texts.size() == 1) return origin;
  origin.text = cat(texts.size(), " texts, ", texts.front().description, " to ", texts.back().description);
  std::string hashes;
  for (const TextInput& text : texts) hashes += text.sha256 + '\n';
  origin.text_sha256 = sha256(hashes);
  return origin;
}

Subject open_cache(const std::filesystem::path& file) {
  io::CacheContents contents = io::read_cache(file);
  Subject subject;
  subject.cache = std::move(contents.cache);
  validate(subject.cache.view(), file.string());
  const auto& from = contents.provenance;
  subject.origin = {.model = from.model,
                    .architecture = from.architecture,
                    .dtype = dtype_name(subject.cache.layers.front().key.scalar_type()),
                    .model_sha256 = from.model_sha256,
                    .text = cat("cache file ", file.string()),
                    .text_sha256 = hash_of(subject.cache.tokens.ids),
                    .bos = from.bos};
  return subject;
}

}  // namespace kvviz
