// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvviz::compress {

/// Keys or values of a layer.
enum class Side { key, value };

/// What a coded tensor takes. `payload` are the codes of the elements (integers, floats, cores of a
/// factorisation), `metadata` all that is needed beside them (scales, zero points, bases, indices, means) and
/// what is kept uncoded on purpose (a window of recent tokens).
struct Bytes {
  double payload = 0, metadata = 0;
  double total() const { return payload + metadata; }
};

/// A tensor after it was coded and read back, and what the code takes.
struct Coded {
  at::Tensor restored;  ///< f32 [kv_heads, tokens, head_dim]: what attention reads
  Bytes bytes;
};

/// A lossy code of keys or values. Stateless; threads may share it. Same input, same output, for any number
/// of threads.
class Codec {
 public:
  virtual ~Codec() = default;
  /// One layer: `x` is dense f32 [kv_heads, tokens, head_dim], finite; it is not changed.
  virtual Coded code(const at::Tensor& x, Side side) const = 0;
  /// All layers of a model in order, tensors as in code(); shapes may differ. By default each layer for
  /// itself. A codec that shares something between layers overrides it; the bytes of what is shared are
  /// divided equally among the layers that share it, so that they need not be whole numbers.
  virtual std::vector<Coded> code_layers(std::span<const at::Tensor> layers, Side side) const;
  /// code_layers() shares tokens between layers.
  virtual bool across_layers() const { return false; }
  /// Every token is coded by itself, whatever the others are, so that this may be done as tokens are written:
  /// code() of a token alone restores the same bits as code() of all.
  virtual bool token_local() const { return false; }
};

/// A row of the table of methods: a family of codecs that a name and its arguments choose from.
struct MethodInfo {
  std::string_view name;       ///< "kivi"
  std::string_view arguments;  ///< how they are written: "BITS[:GROUP[:WINDOW]]"; empty: none
  std::string_view summary;    ///< what is stored, in one line
  std::string_view citation;   ///< empty: folklore
  /// Makes the codec of the arguments behind the name ("4:32" of "kivi:4:32"). Throws UsageError saying what
  /// was got and what is expected.
  std::unique_ptr<Codec> (*make)(std::string_view arguments);
  std::span<const std::string_view> sweep;  ///< argument strings that a sweep tries, from many bytes to few
  bool direct = false;  ///< attention can read the code as it is: no other copy is needed beside it
};

/// All methods, in the order of docs/compress.md.
std::span<const MethodInfo> methods();

/// A method with its arguments, as it was written: "kivi:4".
struct Method {
  std::string text;
  const MethodInfo* info = nullptr;
  std::shared_ptr<const Codec> codec;
};

/// Throws UsageError naming all methods when there is none of this name, and what MethodInfo::make throws.
Method parse_method(std::string_view text);

/// Whole numbers separated by ':', at most `most` of them. Throws UsageError naming `method` for anything
/// else.
std::vector<int64_t> whole_arguments(std::string_view method, std::string_view arguments, size_t most);

}  // namespace kvviz::compress
