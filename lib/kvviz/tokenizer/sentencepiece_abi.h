/* SPDX-License-Identifier: MIT */
/* The C interface of the library kvviz_sentencepiece. SentencePiece and its protobuf-lite stay behind it, so
   that they never share a symbol scope with libtorch's protobuf. Nothing throws across it. */
#ifndef KVVIZ_TOKENIZER_SENTENCEPIECE_ABI_H
#define KVVIZ_TOKENIZER_SENTENCEPIECE_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { KVVIZ_SENTENCEPIECE_ABI = 1 };

typedef struct KvvizSpModel KvvizSpModel;

enum KvvizSpKind { KVVIZ_SP_TEXT, KVVIZ_SP_UNKNOWN, KVVIZ_SP_CONTROL, KVVIZ_SP_BYTE, KVVIZ_SP_UNUSED };

/* Bytes owned by the library until release(). */
typedef struct {
  void* data;
  size_t size;
} KvvizSpBuffer;

typedef struct {
  int abi; /* KVVIZ_SENTENCEPIECE_ABI of the library */
  /* Returns NULL with a message in *error when the bytes are not a SentencePiece model. */
  KvvizSpModel* (*open)(const void* bytes, size_t size, KvvizSpBuffer* error);
  void (*close)(KvvizSpModel* model);
  int32_t (*size)(const KvvizSpModel* model);
  int32_t (*bos)(const KvvizSpModel* model); /* -1: none */
  int32_t (*eos)(const KvvizSpModel* model); /* -1: none */
  /* The piece as the model stores it, U+2581 for a space; valid as long as the model. `id` must be in range.
   */
  const char* (*piece)(const KvvizSpModel* model, int32_t id, size_t* size, enum KvvizSpKind* kind);
  /* Returns 0 with int32_t ids in *ids, or another number with a message in *error. */
  int (*encode)(const KvvizSpModel* model, const char* text, size_t size, KvvizSpBuffer* ids,
                KvvizSpBuffer* error);
  /* Returns 0 with UTF-8 in *text, or another number with a message in *error. */
  int (*decode)(const KvvizSpModel* model, const int32_t* ids, size_t count, KvvizSpBuffer* text,
                KvvizSpBuffer* error);
  void (*release)(KvvizSpBuffer buffer);
} KvvizSpApi;

/* The only symbol of the library. */
const KvvizSpApi* kvviz_sentencepiece_api(void);

#ifdef __cplusplus
}
#endif
#endif
