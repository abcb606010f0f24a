// SPDX-License-Identifier: MIT
#pragma once
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/formats/pickle.hpp"

namespace kvviz::pickle {

struct None {};
struct Mark {};
enum class Callable { ordered_dict, rebuild_tensor, rebuild_parameter };
struct StorageClass {
  std::string_view dtype;
};

// Lists, dicts, storages and tensors stand in tables of the machine and are named by their index there: a
// value that contains itself is no cycle of owners, and taking deep values down needs no recursion.
struct Sequence {
  size_t index;
};
struct Dict {
  size_t index;
};
struct Storage {
  size_t index;
};
struct Tensor {
  size_t index;
};

using Value = std::variant<None, Mark, bool, int64_t, double, std::string_view, Callable, StorageClass,
                           Sequence, Dict, Storage, Tensor>;
using Values = std::vector<Value>;

/// The stack, the memo and the values of a pickle, and what its opcodes do to them: nothing but build values.
/// Every method throws DataError where the pickle is not what it has to be.
class Machine {
 public:
  /// `file` stands in the errors.
  Machine(std::span<const std::byte> bytes, const std::string& file)
      : bytes_(bytes), where_(file + ": the pickle ") {}

  // Arguments of opcodes, from the bytes.
  std::span<const std::byte> take(uint64_t count);
  std::string_view text(uint64_t length);
  std::string_view line();
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  void push(Value value) { stack_.push_back(value); }
  Value pop();
  /// The values above the last mark, which goes too.
  Values pop_to_mark();

  void push_long(std::span<const std::byte> digits);
  void push_sequence(Values values);
  void push_tuple(size_t count);
  void push_dict();
  void append(const Values& values);
  void set_items(const Values& values);
  void remember(uint32_t index);
  void remember_next() { remember(static_cast<uint32_t>(memo_.size())); }
  void recall(uint32_t index);

  /// The few names that are known: pickle.hpp lists them.
  void push_global(std::string_view module, std::string_view name);
  void stack_global();
  void push_storage();
  void reduce();
  void build();

  [[noreturn]] void refuse(uint8_t code) const;
  /// What is left at the end has to be one dict from names to tensors.
  std::vector<PickledTensor> state_dict() const;

 private:
  template <class T>
  T pop_as(const char* expected) {
    const Value value = pop();
    const T* found = std::get_if<T>(&value);
    require(found != nullptr, where_, "has another value where ", expected, " is expected");
    return *found;
  }
  template <class T>
  T argument(const Values& values, size_t index, const char* what) const {
    const T* found = index < values.size() ? std::get_if<T>(&values[index]) : nullptr;
    require(found != nullptr, where_, "lacks ", what, " where it describes a tensor");
    return *found;
  }
  const Values& sequence(const Value& value, const char* what) const;
  std::vector<int64_t> sizes(const Values& values, size_t index, const char* what) const;
  void push_tensor(const Values& arguments);

  struct StorageInfo {
    std::string_view dtype, key;
    int64_t size;
  };

  std::span<const std::byte> bytes_;
  std::string where_;
  size_t at_ = 0;
  Values stack_;
  std::unordered_map<uint32_t, Value> memo_;
  std::vector<Values> sequences_;
  std::vector<std::vector<std::pair<Value, Value>>> dicts_;
  std::vector<StorageInfo> storages_;
  std::vector<PickledTensor> tensors_;
};

}  // namespace kvviz::pickle
