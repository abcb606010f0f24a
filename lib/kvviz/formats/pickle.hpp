// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvviz {

/// A tensor as a pickle describes it: a view with strides into a storage that lies elsewhere. Sizes are in
/// elements. Nothing is checked but the types.
struct PickledTensor {
  std::string name;
  std::string_view dtype;    ///< of the storage, as StoredTensor names it
  std::string_view storage;  ///< its key; lies in the pickle
  int64_t storage_size = 0, offset = 0;
  std::vector<int64_t> shape, strides;
};

/// The tensors of a pickled state dict, in its order. This is not Python: it builds plain values and calls
/// nothing. Opcodes (pickletools of Python 3.11): PROTO FRAME STOP MARK; NONE NEWTRUE NEWFALSE BININT BININT1
/// BININT2 LONG1 BINFLOAT; BINUNICODE SHORT_BINUNICODE BINUNICODE8; EMPTY_LIST APPEND APPENDS; EMPTY_TUPLE
/// TUPLE TUPLE1 TUPLE2 TUPLE3; EMPTY_DICT SETITEM SETITEMS; BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET;
/// GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID. Globals: collections.OrderedDict,
/// torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter and the storage classes
/// torch.<Type>Storage; any other is refused by name where it is mentioned. BUILD adds attributes to a dict
/// (a state dict's _metadata), which are left out. Throws DataError. Memory: at most about 100 bytes for each
/// byte of the pickle, which may have 64 MiB; no recursion.
std::vector<PickledTensor> unpickle(std::span<const std::byte> pickle, const std::string& file);

}  // namespace kvviz
