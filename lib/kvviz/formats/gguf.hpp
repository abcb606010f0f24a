// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kvviz/formats/stored_tensor.hpp"

namespace kvviz {

/// The types that metadata has in a GGUF file, by their number there.
enum class GgufType : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  text,
  array,
  u64,
  i64,
  f64,
};

struct GgufValue;

/// An array of metadata. Numbers stay where they lie in the file.
struct GgufArray {
  GgufType element = GgufType::u8;
  uint64_t count = 0;
  std::span<const std::byte> numbers;   ///< elements of fixed size, packed, little-endian
  std::vector<std::string_view> texts;  ///< elements of type text
  std::vector<GgufValue> arrays;        ///< elements of type array
};

/// A value of metadata; numbers are widened.
struct GgufValue {
  GgufType type = GgufType::u8;
  std::variant<int64_t, uint64_t, double, bool, std::string_view, GgufArray> value;
};

/// A GGUF file, version 2 or 3: typed metadata and named tensors, mapped, not read. The format:
/// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Everything the header claims is checked before
/// it is used: magic, version, counts against the bytes that are left, types, lengths, nesting, alignment,
/// offsets and sizes inside the file, no overlap, no key and no tensor twice. Throws DataError naming file
/// and key or tensor. A big-endian file, or one of version 1, is refused by name. Memory: 16 bytes for each
/// text of an array; nothing for its numbers and for tensors.
class GgufFile {
 public:
  static GgufFile open(const std::filesystem::path& path);
  /// The same from bytes, which must stay: for tests. `name` stands in the errors.
  static GgufFile parse(std::span<const std::byte> bytes, const std::string& name);
  /// A model, in one file or in the parts that llama-gguf-split writes (split.count is above 1): the first,
  /// which has the metadata, with the tensors of all of them. Throws DataError too for another part than the
  /// first (naming that), names that are not those of parts (part_name.hpp), a part that is missing or whose
  /// split.no, split.count or split.tensors.count do not fit, and a tensor that two parts have.
  static GgufFile open_model(const std::filesystem::path& first);

  uint32_t version() const { return version_; }
  const std::string& name() const { return name_; }
  /// What was opened, in the order of the parts; empty after parse().
  const std::vector<std::filesystem::path>& files() const { return files_; }
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  /// Shapes as GGML writes them, reversed: [out, in] for a matrix; dtypes as ggml_dtype() names them.
  const StoredTensors& tensors() const { return tensors_; }

  bool has(const std::string& key) const { return metadata_.contains(key); }
  const GgufValue* find(const std::string& key) const;

  /// Typed reads. A missing key and another type are DataErrors naming the key; any integer type that fits
  /// answers integer(), any number answers number(), an array of any of them answers the plural.
  std::string text(const std::string& key) const;
  int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  bool boolean(const std::string& key) const;
  std::vector<std::string> texts(const std::string& key) const;
  std::vector<int64_t> integers(const std::string& key) const;
  std::vector<float> numbers(const std::string& key) const;

  /// The same, with an answer for a key that is not there.
  std::string text(const std::string& key, const std::string& otherwise) const;
  int64_t integer(const std::string& key, int64_t otherwise) const;
  double number(const std::string& key, double otherwise) const;
  bool boolean(const std::string& key, bool otherwise) const;

 private:
  friend class GgufParser;
  const GgufValue& at(const std::string& key) const;
  const GgufArray& array(const std::string& key) const;
  void add_part(GgufFile part);

  std::string name_;
  uint32_t version_ = 0;
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, GgufValue> metadata_;
  StoredTensors tensors_;
  std::vector<std::filesystem::path> files_;
};

/// A tensor type of GGML: its number in a file, its name here ("F32", "Q4_K") and its blocks.
struct GgmlDtype {
  uint32_t number = 0;
  std::string_view name;
  DtypeLayout layout;
};

/// Every type that a GGUF file may name; nullptr for a number that is none.
const GgmlDtype* ggml_dtype(uint32_t number);
const GgmlDtype* ggml_dtype(std::string_view name);

}  // namespace kvviz
