// SPDX-License-Identifier: MIT
#pragma once
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvviz/formats/gguf.hpp"
#include "kvviz/tokenizer/gguf_tokenizer.hpp"

namespace kvviz::test {

/// Writes a GGUF file of version 3 that has metadata and no tensor.
class GgufBytes {
 public:
  GgufBytes& text(std::string_view key, std::string_view value) {
    begin(key, 8);
    add_text(value);
    return *this;
  }
  GgufBytes& boolean(std::string_view key, bool value) {
    begin(key, 7);
    body_ += value ? '\1' : '\0';
    return *this;
  }
  GgufBytes& id(std::string_view key, uint32_t value) {
    begin(key, 4);
    add(value, 4);
    return *this;
  }
  GgufBytes& texts(std::string_view key, const std::vector<std::string>& values) {
    begin_array(key, 8, values.size());
    for (const std::string& value : values) add_text(value);
    return *this;
  }
  GgufBytes& numbers(std::string_view key, const std::vector<float>& values) {
    begin_array(key, 6, values.size());
    for (const float value : values) add(std::bit_cast<uint32_t>(value), 4);
    return *this;
  }
  GgufBytes& integers(std::string_view key, const std::vector<int32_t>& values) {
    begin_array(key, 5, values.size());
    for (const int32_t value : values) add(static_cast<uint32_t>(value), 4);
    return *this;
  }

  std::string bytes() const {
    GgufBytes head;
    head.body_ = "GGUF";
    head.add(3, 4);
    head.add(0, 8);
    head.add(keys_, 8);
    return head.body_ + body_;
  }

  std::unique_ptr<Tokenizer> open() const {
    const std::string all = bytes();
    return open_gguf_tokenizer(GgufFile::parse(std::as_bytes(std::span(all)), "made.gguf"));
  }

 private:
  void add(uint64_t value, int size) {
    for (int i = 0; i < size; ++i) body_ += static_cast<char>(value >> 8 * i);
  }
  void add_text(std::string_view value) {
    add(value.size(), 8);
    body_ += value;
  }
  void begin(std::string_view key, uint32_t type) {
    add_text(key);
    add(type, 4);
    ++keys_;
  }
  void begin_array(std::string_view key, uint32_t element, size_t count) {
    begin(key, 9);
    add(element, 4);
    add(count, 8);
  }

  std::string body_;
  uint64_t keys_ = 0;
};

}  // namespace kvviz::test
