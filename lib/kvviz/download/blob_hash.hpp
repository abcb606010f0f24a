// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace kvviz::hub {

/// The hash that names a blob of the hub, computed while it arrives: of 64 hexadecimal digits SHA-256 of the
/// contents (large files, Git LFS), of 40 SHA-1 of "blob <size>\0" and the contents, as git has it.
class BlobHash {
 public:
  /// `expected` is one of the two; `size` is that of the whole contents.
  BlobHash(const std::string& expected, int64_t size);
  ~BlobHash();
  BlobHash(const BlobHash&) = delete;
  BlobHash& operator=(const BlobHash&) = delete;

  void add(std::string_view bytes);
  /// Lower-case hexadecimal digits; call once.
  std::string finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// Whether `text` is one of the two forms.
bool is_blob_hash(const std::string& text);

}  // namespace kvviz::hub
