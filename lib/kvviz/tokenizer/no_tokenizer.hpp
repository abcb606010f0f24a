// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <string>

#include "kvviz/tokenizer/tokenizer.hpp"

namespace kvviz {

/// Stands in for the tokenizer of a model that has none, whose ids come from elsewhere. A token is "<id 17>",
/// and nothing is the BOS, the EOS, or ends a text; decode() puts the pieces one behind the other. encode()
/// throws DataError with `reason`.
std::unique_ptr<Tokenizer> no_tokenizer(std::string reason, int32_t vocabulary);

}  // namespace kvviz
