// SPDX-License-Identifier: MIT
// The library kvviz_sentencepiece: SentencePiece behind a C interface.
#include <sentencepiece_processor.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "kvviz/tokenizer/sentencepiece_abi.h"

struct KvvizSpModel {
  sentencepiece::SentencePieceProcessor processor;
};

namespace {

KvvizSpBuffer copy(const void* data, size_t size) {
  void* bytes = std::malloc(size > 0 ? size : 1);
  if (bytes == nullptr) return {nullptr, 0};
  if (size > 0) std::memcpy(bytes, data, size);
  return {bytes, size};
}

KvvizSpBuffer copy(std::string_view text) {
  return copy(text.data(), text.size());
}

// Runs `work`, which gives a SentencePiece status; its message, or an exception's, becomes the error.
template <class Work>
int guarded(KvvizSpBuffer* error, const Work& work) {
  try {
    const sentencepiece::util::Status status = work();
    if (status.ok()) return 0;
    *error = copy(status.ToString());
  } catch (const std::exception& exception) {
    *error = copy(exception.what());
  } catch (...) {
    *error = copy("an unknown exception");
  }
  return 1;
}

KvvizSpModel* open(const void* bytes, size_t size, KvvizSpBuffer* error) {
  KvvizSpModel* model = nullptr;
  const int failed = guarded(error, [&] {
    model = new KvvizSpModel;
    return model->processor.LoadFromSerializedProto(std::string_view(static_cast<const char*>(bytes), size));
  });
  if (failed == 0) return model;
  delete model;
  return nullptr;
}

void close(KvvizSpModel* model) {
  delete model;
}

int32_t size(const KvvizSpModel* model) {
  return model->processor.GetPieceSize();
}
int32_t bos(const KvvizSpModel* model) {
  return model->processor.bos_id();
}
int32_t eos(const KvvizSpModel* model) {
  return model->processor.eos_id();
}

const char* piece(const KvvizSpModel* model, int32_t id, size_t* size, KvvizSpKind* kind) {
  const sentencepiece::SentencePieceProcessor& processor = model->processor;
  *kind = processor.IsUnknown(id)   ? KVVIZ_SP_UNKNOWN
          : processor.IsControl(id) ? KVVIZ_SP_CONTROL
          : processor.IsByte(id)    ? KVVIZ_SP_BYTE
          : processor.IsUnused(id)  ? KVVIZ_SP_UNUSED
                                    : KVVIZ_SP_TEXT;
  const std::string& text = processor.IdToPiece(id);
  *size = text.size();
  return text.data();
}

int encode(const KvvizSpModel* model, const char* text, size_t size, KvvizSpBuffer* ids,
           KvvizSpBuffer* error) {
  static_assert(sizeof(int) == sizeof(int32_t));
  return guarded(error, [&] {
    std::vector<int> found;
    auto status = model->processor.Encode(std::string_view(text, size), &found);
    *ids = copy(found.data(), found.size() * sizeof(int));
    return status;
  });
}

int decode(const KvvizSpModel* model, const int32_t* ids, size_t count, KvvizSpBuffer* text,
           KvvizSpBuffer* error) {
  return guarded(error, [&] {
    std::string decoded;
    auto status = model->processor.Decode(std::vector<int>(ids, ids + count), &decoded);
    *text = copy(decoded);
    return status;
  });
}

void release(KvvizSpBuffer buffer) {
  std::free(buffer.data);
}

constexpr KvvizSpApi api = {
    KVVIZ_SENTENCEPIECE_ABI, open, close, size, bos, eos, piece, encode, decode, release};

}  // namespace

extern "C" __attribute__((visibility("default"))) const KvvizSpApi* kvviz_sentencepiece_api(void) {
  return &api;
}
