// SPDX-License-Identifier: MIT
// Tokenising in a program that links libtorch itself: its protobuf must not meet SentencePiece's.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {

#if defined(__SANITIZE_ADDRESS__)

// AddressSanitizer forbids RTLD_DEEPBIND, without which the two would meet.
TEST_CASE("[tokenizer + torch] under AddressSanitizer SentencePiece is refused instead of crashing") {
  CHECK(at::ones({2, 2}).sum().item<float>() == 4.0F);
  CHECK(contains(error_of<DataError>([] { open_tokenizer(fixtures() / "sentencepiece-bpe"); }),
                 "AddressSanitizer"));
}

#else

TEST_CASE("[tokenizer + torch] tensors and SentencePiece, one after the other") {
  const auto tokenizer = open_tokenizer(fixtures() / "sentencepiece-bpe");
  const std::string text = "The harbour town wakes before the sun does.";
  for (int64_t round = 1; round <= 20; ++round) {
    const std::vector<int32_t> ids = tokenizer->encode(text);
    const at::Tensor tensor = at::tensor(at::ArrayRef<int32_t>(ids));
    CHECK(tensor.size(0) == static_cast<int64_t>(ids.size()));
    const at::Tensor product = at::ones({round, 3}).matmul(at::ones({3, 2}));
    CHECK(product.sum().item<float>() == static_cast<float>(6 * round));
    CHECK(tokenizer->decode(ids) == text);
  }
}

TEST_CASE("[tokenizer + torch] a damaged model is an error here too") {
  const TempFolder folder;
  folder.write("tokenizer.model", std::string(64, '\xFF'));
  CHECK(
      contains(error_of<DataError>([&] { open_tokenizer(folder.path()); }), "is not a SentencePiece model"));
}

#endif

}  // namespace kvviz::test
