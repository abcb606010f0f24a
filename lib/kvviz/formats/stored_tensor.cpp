// SPDX-License-Identifier: MIT
#include "kvviz/formats/stored_tensor.hpp"

#include <algorithm>
#include <limits>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

struct PlainDtype {
  std::string_view name;
  int64_t bytes;
};
constexpr PlainDtype plain_dtypes[] = {
    {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I64", 8},  {"I32", 4},
    {"I16", 2}, {"I8", 1},  {"U64", 8},  {"U32", 4}, {"U16", 2},     {"U8", 1},      {"BOOL", 1},
};

}  // namespace

std::vector<int64_t> shape_in_file(const StoredTensor& tensor) {
  std::vector<int64_t> shape = tensor.shape;
  if (tensor.transposed) std::reverse(shape.begin(), shape.end());
  return shape;
}

std::optional<DtypeLayout> plain_layout(std::string_view dtype) {
  const auto* found = std::find_if(std::begin(plain_dtypes), std::end(plain_dtypes),
                                   [&](const PlainDtype& plain) { return plain.name == dtype; });
  if (found == std::end(plain_dtypes)) return std::nullopt;
  return DtypeLayout{1, found->bytes};
}

std::optional<uint64_t> bytes_of(const std::vector<int64_t>& shape, DtypeLayout layout) {
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row < 0 || row % layout.elements != 0) return std::nullopt;
  int64_t bytes = 0;
  if (__builtin_mul_overflow(row / layout.elements, layout.bytes, &bytes)) return std::nullopt;
  for (size_t i = 0; i + 1 < shape.size(); ++i)
    if (shape[i] < 0 || __builtin_mul_overflow(bytes, shape[i], &bytes)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? "," : "") + std::to_string(size);
  return text + ']';
}

void check_apart(std::vector<Extent>& extents, const std::string& file) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const Extent& extent : extents) {
    require(extent.begin >= end, file, ": the bytes of ", extent.name, " overlap those of another tensor");
    end = extent.end;
  }
}

}  // namespace kvviz
