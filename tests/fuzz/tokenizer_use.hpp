// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>

#include "fuzz_target.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"

namespace kvviz::test {

/// Everything that a tokenizer can be asked, with a text that has words, digits, white space, marks,
/// characters of two to four bytes and special tokens.
inline void use(const Tokenizer& tokenizer) {
  survives([&] {
    tokenizer.decode(
        tokenizer.encode("The harbour's 1,024 \xE6\xB8\xAF\xC3\xB2 <tool>  \t\r\n x<|endoftext|> "
                         "e\xCC\x81 \xF0\x9F\x98\x80</s>"));
  });
  for (int32_t id = -1; id <= std::min(tokenizer.vocabulary(), 300); ++id) tokenizer.piece(id);
  survives([&] { tokenizer.decode({0, 1, 2, 3, 4, 5, 6, 7}); });
  tokenizer.left_out();
}

}  // namespace kvviz::test
