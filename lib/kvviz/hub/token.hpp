// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <string>

#include "kvviz/hub/environment.hpp"

namespace kvviz::hub {

/// An access token and where it was found. Print masked(), never `value`.
struct Token {
  std::string value;   ///< empty: none
  std::string source;  ///< "HF_TOKEN", "the file ~/.cache/huggingface/token", ...
  explicit operator bool() const { return !value.empty(); }
};

/// The first of: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, the token file (hub::token_file()), the variable HF_TOKEN
/// or HUGGING_FACE_HUB_TOKEN in the file `.env` of `folder`. White space around it is cut. Throws DataError
/// that names the source, not the token, when it holds anything but printable ASCII.
Token find_token(const Environment& environment, const std::filesystem::path& folder);

/// "hf_****abcd": the last four characters, of tokens long enough that they tell nothing.
std::string masked(const Token& token);

}  // namespace kvviz::hub
