// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/formats/gguf.hpp"

namespace kvviz::test {

/// The bytes of a GGUF file, entry by entry and as wrong as a test wants it. Shapes are row-major.
class GgufWriter {
 public:
  uint32_t version = 3;
  uint64_t more_keys = 0, more_tensors = 0;  ///< that the header claims without having them

  void u32(const std::string& key, uint32_t value) { entry(key, 4, number(value)); }
  void i64(const std::string& key, int64_t value) { entry(key, 11, number(value)); }
  void f32(const std::string& key, float value) { entry(key, 6, number(value)); }
  void boolean(const std::string& key, uint8_t value) { entry(key, 7, number(value)); }
  void text(const std::string& key, const std::string& value) { entry(key, 8, text_bytes(value)); }
  void i32s(const std::string& key, const std::vector<int32_t>& values) {
    std::string bytes = number(uint32_t{5}) + number(uint64_t{values.size()});
    for (const int32_t value : values) bytes += number(value);
    entry(key, 9, bytes);
  }
  void f32s(const std::string& key, const std::vector<float>& values) {
    std::string bytes = number(uint32_t{6}) + number(uint64_t{values.size()});
    for (const float value : values) bytes += number(value);
    entry(key, 9, bytes);
  }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    std::string bytes = number(uint32_t{8}) + number(uint64_t{values.size()});
    for (const std::string& value : values) bytes += text_bytes(value);
    entry(key, 9, bytes);
  }
  /// An entry of any type with any bytes.
  void entry(const std::string& key, uint32_t type, const std::string& bytes) {
    entries_ += text_bytes(key) + number(type) + bytes;
    ++keys_;
  }

  void tensor(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
    tensor_bytes(name, shape, "F32",
                 {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  }
  void tensor_bytes(const std::string& name, const std::vector<int64_t>& shape, const std::string& dtype,
                    const std::string& bytes) {
    tensor_at(name, shape, ggml_dtype(dtype)->number, data_.size());
    data_ += bytes;
    data_.resize((data_.size() + 31) / 32 * 32);
  }
  /// A description alone.
  void tensor_at(const std::string& name, const std::vector<int64_t>& shape, uint32_t type, uint64_t offset) {
    infos_ += text_bytes(name) + number(static_cast<uint32_t>(shape.size()));
    for (size_t i = shape.size(); i-- > 0;) infos_ += number(shape[i]);
    infos_ += number(type) + number(offset);
    ++tensors_;
  }

  std::string bytes() const {
    std::string all = "GGUF" + number(version) + number(tensors_ + more_tensors) + number(keys_ + more_keys);
    all += entries_ + infos_;
    all.resize((all.size() + 31) / 32 * 32);
    return all + data_;
  }
  void write(const std::filesystem::path& file) const { write_file(file, bytes()); }

  template <class T>
  static std::string number(T value) {
    std::string bytes(sizeof(T), '\0');
    std::memcpy(bytes.data(), &value, sizeof(T));
    return bytes;
  }
  static std::string text_bytes(const std::string& text) { return number(uint64_t{text.size()}) + text; }

 private:
  std::string entries_, infos_, data_;
  uint64_t keys_ = 0, tensors_ = 0;
};

}  // namespace kvviz::test
