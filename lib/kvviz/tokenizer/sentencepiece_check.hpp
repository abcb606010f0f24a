// SPDX-License-Identifier: MIT
#pragma once
#include <string_view>

namespace kvviz {

/// Checks what the SentencePiece library reads of a model without checks of its own: the table of its
/// normaliser (precompiled_charsmap of normalizer_spec and denormalizer_spec), a double-array trie whose
/// every step must stay inside and whose every value must point to a text that ends. Throws DataError for
/// that, and for bytes that are no protobuf message; everything else is left to the library. Cost: one pass
/// over the table.
void check_sentencepiece(std::string_view model);

}  // namespace kvviz
