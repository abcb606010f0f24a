// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "kvviz/formats/gguf.hpp"
#include "kvviz/tokenizer/gguf_tokenizer.hpp"

namespace kvviz::test {

/// The bytes of a GGUF file that holds a vocabulary and no tensor, for opening it as it is and changed.
class GgufVocabulary {
 public:
  explicit GgufVocabulary(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + file.string());
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
  }

  std::unique_ptr<Tokenizer> open() const { return open_bytes(bytes_); }

  /// With another "tokenizer.ggml.pre", which is the last key of the file.
  std::unique_ptr<Tokenizer> open_with_pre(const std::string& name) const {
    std::string bytes = bytes_;
    constexpr size_t type_and_length = 4 + 8;
    const std::string key = "tokenizer.ggml.pre";
    const size_t at = bytes.find(key);
    if (at == std::string::npos) throw std::runtime_error("no " + key);
    bytes.resize(at + key.size() + type_and_length);
    for (size_t i = 0; i < 8; ++i) bytes[bytes.size() - 8 + i] = static_cast<char>(name.size() >> 8 * i);
    return open_bytes(bytes + name);
  }

 private:
  static std::unique_ptr<Tokenizer> open_bytes(const std::string& bytes) {
    return open_gguf_tokenizer(GgufFile::parse(std::as_bytes(std::span(bytes)), "vocabulary.gguf"));
  }

  std::string bytes_;
};

}  // namespace kvviz::test
