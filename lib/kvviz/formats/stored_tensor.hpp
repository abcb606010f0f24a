// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvviz/core/mapped_file.hpp"

namespace kvviz {

/// A tensor inside a mapped file, read by nobody yet. `shape` is row-major and is that of the tensor as a
/// model knows it; the last three fields say how what the file holds becomes it, in this order.
struct StoredTensor {
  std::string dtype;  ///< "F32", "F16", "BF16", "I64", ...; blocks of a GGUF file: "Q8_0", "Q4_K", ...
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const MappedFile> file;  ///< null for bytes that are in no file

  std::vector<int64_t> row_order;  ///< row i is row `row_order[i]` of the file; empty: as stored
  double added = 0;                ///< what the file adds to every value; taken off again
  bool transposed = false;         ///< the file holds the transposed matrix
};

using StoredTensors = std::map<std::string, StoredTensor>;

/// The shape that lies in the file: `shape`, reversed where it is transposed.
std::vector<int64_t> shape_in_file(const StoredTensor& tensor);

/// How a dtype lies in a file: blocks of `elements` values in `bytes` bytes each; plain numbers are blocks
/// of one.
struct DtypeLayout {
  int64_t elements = 1;
  int64_t bytes = 0;
};

/// Layout of a plain dtype: F32, F64, F16, BF16, F8_E4M3, F8_E5M2, I8 to I64, U8 to U64, BOOL; nullopt for
/// any other name.
std::optional<DtypeLayout> plain_layout(std::string_view dtype);

/// Bytes of a tensor whose rows are the last dimension; nullopt where a size is negative, a row is no whole
/// number of blocks, or the product does not fit 63 bits.
std::optional<uint64_t> bytes_of(const std::vector<int64_t>& shape, DtypeLayout layout);

/// "[2,3]"
std::string shape_text(const std::vector<int64_t>& shape);

/// Where a tensor lies in its file: half open.
struct Extent {
  std::string name;
  uint64_t begin = 0, end = 0;
};

/// Sorts by place and throws DataError where two tensors overlap.
void check_apart(std::vector<Extent>& extents, const std::string& file);

}  // namespace kvviz
