// SPDX-License-Identifier: MIT
// What the reader and the writer of cache files share: names, and the tensors of a layer.
#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/io/hdf5.hpp"

namespace kvviz::io {

template <class Value>
struct Name {
  Value value;
  const char* name;
};
inline constexpr std::array<Name<KeyBasis>, 2> basis_names = {
    {{KeyBasis::pre_rope, "pre_rope"}, {KeyBasis::post_rope, "post_rope"}}};
inline constexpr std::array<Name<RopePairing>, 3> pairing_names = {
    {{RopePairing::none, "none"}, {RopePairing::half, "half"}, {RopePairing::interleaved, "interleaved"}}};
inline constexpr std::array<Name<at::ScalarType>, 3> dtype_names = {
    {{at::kFloat, "f32"}, {at::kHalf, "f16"}, {at::kBFloat16, "bf16"}}};

template <class Names, class Value>
const char* name_of(const Names& names, Value value) {
  return std::find_if(names.begin(), names.end(), [&](const auto& n) { return n.value == value; })->name;
}

/// Throws DataError that begins with `where` for a name that is none, listing them.
template <class Names>
auto value_of(const Names& names, const std::string& name, const std::string& where) {
  const auto found = std::find_if(names.begin(), names.end(), [&](const auto& n) { return n.name == name; });
  if (found != names.end()) return found->value;
  std::string known;
  for (const auto& n : names) known += cat(known.empty() ? "" : ", ", n.name);
  throw DataError(cat(where, ": got \"", name, "\"; expected one of ", known));
}

/// "/layers/0007"
std::string layer_group(size_t index);
/// "[2, 3, 4]"
std::string shape_text(const std::vector<int64_t>& shape);
bool is_utf8(const std::string& text);

/// What a tensor of this dtype is stored as: bf16 as f32, which is exact.
Element element_for(at::ScalarType dtype);
/// [heads, tokens, head_dim], a chunk a head.
void write_tensor(Hdf5File& out, const std::string& name, const at::Tensor& tensor, int gzip);

struct Stored {
  std::vector<int64_t> shape;
  at::ScalarType dtype = at::kFloat;
};
/// A tensor as its file describes it, of so many tokens; `heads` is what the message calls the first size.
/// Throws DataError: another type, rank or number of tokens, a size of 0, more than the file stores.
Stored check_tensor(const Hdf5File& file, const std::string& name, int64_t tokens,
                    const char* heads = "kv_heads");
/// Reads it in the dtype recorded. Throws DataError for f32 that is recorded as bf16 and holds what bf16
/// cannot.
at::Tensor read_tensor(const Hdf5File& file, const std::string& name, const std::vector<int64_t>& shape,
                       at::ScalarType dtype);

}  // namespace kvviz::io
