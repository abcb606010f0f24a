// SPDX-License-Identifier: MIT
#include "kvviz/formats/pickle_machine.hpp"

#include <algorithm>
#include <array>
#include <set>

namespace kvviz::pickle {
namespace {

constexpr size_t most_dimensions = 64;

struct Global {
  std::string_view module, name;
  Value value;
};
const std::array globals{
    Global{"collections", "OrderedDict", Callable::ordered_dict},
    Global{"torch._utils", "_rebuild_tensor_v2", Callable::rebuild_tensor},
    Global{"torch._utils", "_rebuild_parameter", Callable::rebuild_parameter},
    Global{"torch", "FloatStorage", StorageClass{"F32"}},
    Global{"torch", "HalfStorage", StorageClass{"F16"}},
    Global{"torch", "BFloat16Storage", StorageClass{"BF16"}},
    Global{"torch", "DoubleStorage", StorageClass{"F64"}},
    Global{"torch", "LongStorage", StorageClass{"I64"}},
    Global{"torch", "IntStorage", StorageClass{"I32"}},
    Global{"torch", "ShortStorage", StorageClass{"I16"}},
    Global{"torch", "CharStorage", StorageClass{"I8"}},
    Global{"torch", "ByteStorage", StorageClass{"U8"}},
    Global{"torch", "BoolStorage", StorageClass{"BOOL"}},
};

}  // namespace

std::span<const std::byte> Machine::take(uint64_t count) {
  require(count <= bytes_.size() - at_, where_, "ends in the middle of a value; the file is damaged");
  const auto part = bytes_.subspan(at_, count);
  at_ += count;
  return part;
}

std::string_view Machine::text(uint64_t length) {
  const auto part = take(length);
  return {reinterpret_cast<const char*>(part.data()), part.size()};
}

std::string_view Machine::line() {
  const auto rest = bytes_.subspan(at_);
  const auto end = std::find(rest.begin(), rest.end(), std::byte{'\n'});
  const std::string_view found = text(static_cast<uint64_t>(end - rest.begin()));
  take(1);
  return found;
}

Value Machine::pop() {
  require(!stack_.empty() && !std::holds_alternative<Mark>(stack_.back()), where_,
          "takes a value that is not there; the file is damaged");
  const Value value = stack_.back();
  stack_.pop_back();
  return value;
}

Values Machine::pop_to_mark() {
  const auto mark = std::find_if(stack_.rbegin(), stack_.rend(),
                                 [](const Value& value) { return std::holds_alternative<Mark>(value); });
  require(mark != stack_.rend(), where_, "lacks a mark; the file is damaged");
  Values values(mark.base(), stack_.end());
  stack_.erase(mark.base() - 1, stack_.end());
  return values;
}

void Machine::push_long(std::span<const std::byte> digits) {
  require(digits.size() <= 8, where_, "holds an integer of more than 64 bits");
  uint64_t value = 0;
  for (size_t i = 0; i < digits.size(); ++i) value |= std::to_integer<uint64_t>(digits[i]) << (8 * i);
  const bool negative = !digits.empty() && (digits.back() & std::byte{0x80}) != std::byte{0};
  if (negative && digits.size() < 8) value |= ~uint64_t{0} << (8 * digits.size());
  push(static_cast<int64_t>(value));
}

void Machine::push_sequence(Values values) {
  sequences_.push_back(std::move(values));
  push(Sequence{sequences_.size() - 1});
}

void Machine::push_tuple(size_t count) {
  Values values(count);
  for (size_t i = count; i-- > 0;) values[i] = pop();
  push_sequence(std::move(values));
}

void Machine::push_dict() {
  dicts_.emplace_back();
  push(Dict{dicts_.size() - 1});
}

void Machine::append(const Values& values) {
  const auto list = pop_as<Sequence>("a list");
  Values& held = sequences_[list.index];
  held.insert(held.end(), values.begin(), values.end());
  push(list);
}

void Machine::set_items(const Values& values) {
  require(values.size() % 2 == 0, where_, "has a key without a value; the file is damaged");
  const auto dict = pop_as<Dict>("a dict");
  for (size_t i = 0; i < values.size(); i += 2) dicts_[dict.index].emplace_back(values[i], values[i + 1]);
  push(dict);
}

void Machine::remember(uint32_t index) {
  const Value value = pop();
  memo_.insert_or_assign(index, value);
  push(value);
}

void Machine::recall(uint32_t index) {
  const auto found = memo_.find(index);
  require(found != memo_.end(), where_, "recalls a value that it never kept; the file is damaged");
  push(found->second);
}

void Machine::push_global(std::string_view module, std::string_view name) {
  const auto known = std::find_if(globals.begin(), globals.end(), [&](const Global& global) {
    return global.module == module && global.name == name;
  });
  require(known != globals.end(), where_, "names the Python object ", module, '.', name,
          ", which a state dict of plain tensors does not need; no code in a pickle is ever run. Save the "
          "weights as safetensors, or torch.save(model.state_dict(), ...)");
  push(known->value);
}

void Machine::stack_global() {
  const auto name = pop_as<std::string_view>("a name"), module = pop_as<std::string_view>("a module");
  push_global(module, name);
}

const Values& Machine::sequence(const Value& value, const char* what) const {
  const auto* found = std::get_if<Sequence>(&value);
  require(found != nullptr, where_, "has another value where ", what, " is expected");
  return sequences_[found->index];
}

// ('storage', class, key, location, size)
void Machine::push_storage() {
  const Values& id = sequence(pop(), "a storage");
  require(argument<std::string_view>(id, 0, "the word storage") == "storage" && id.size() == 5, where_,
          "refers to something outside it that is no storage");
  storages_.push_back({argument<StorageClass>(id, 1, "the class of a storage").dtype,
                       argument<std::string_view>(id, 2, "the key of a storage"),
                       argument<int64_t>(id, 4, "the size of a storage")});
  push(Storage{storages_.size() - 1});
}

std::vector<int64_t> Machine::sizes(const Values& values, size_t index, const char* what) const {
  const Values& list = sequence(argument<Sequence>(values, index, what), what);
  require(list.size() <= most_dimensions, where_, "describes a tensor of ", list.size(), " dimensions");
  std::vector<int64_t> result;
  for (size_t i = 0; i < list.size(); ++i) result.push_back(argument<int64_t>(list, i, what));
  return result;
}

// (storage, offset, shape, strides, requires_grad, hooks)
void Machine::push_tensor(const Values& arguments) {
  const StorageInfo& storage = storages_[argument<Storage>(arguments, 0, "a storage").index];
  tensors_.push_back({.name = {},
                      .dtype = storage.dtype,
                      .storage = storage.key,
                      .storage_size = storage.size,
                      .offset = argument<int64_t>(arguments, 1, "an offset"),
                      .shape = sizes(arguments, 2, "a shape"),
                      .strides = sizes(arguments, 3, "strides")});
  push(Tensor{tensors_.size() - 1});
}

void Machine::reduce() {
  const Values& arguments = sequence(pop(), "a tuple of arguments");
  switch (pop_as<Callable>("something that is called")) {
    case Callable::ordered_dict:
      require(arguments.empty(), where_, "makes an OrderedDict from values; expected an empty one");
      return push_dict();
    case Callable::rebuild_tensor:
      return push_tensor(arguments);
    case Callable::rebuild_parameter:
      return push(argument<Tensor>(arguments, 0, "a tensor"));
  }
}

void Machine::build() {
  pop();
  push(pop_as<Dict>("a dict that gets attributes"));
}

void Machine::refuse(uint8_t code) const {
  throw DataError(
      cat(where_, "uses the opcode ", int{code},
          ", which a state dict of plain tensors does not need; no code in a pickle is ever run"));
}

std::vector<PickledTensor> Machine::state_dict() const {
  require(stack_.size() == 1, where_, "stops with ", stack_.size(), " values; expected one");
  const auto* dict = std::get_if<Dict>(&stack_.back());
  require(dict != nullptr, where_,
          "holds no dict; expected a state dict: save model.state_dict(), not the model");
  std::vector<PickledTensor> result;
  std::set<std::string_view> names;
  for (const auto& [key, value] : dicts_[dict->index]) {
    const auto* name = std::get_if<std::string_view>(&key);
    require(name != nullptr, where_, "holds a dict with a key that is no text; expected a state dict");
    const auto* tensor = std::get_if<Tensor>(&value);
    require(tensor != nullptr, where_, "holds ", *name,
            ", which is no tensor; expected a state dict alone, as save_pretrained writes it");
    require(names.insert(*name).second, where_, "holds ", *name, " twice");
    result.push_back(tensors_[tensor->index]);
    result.back().name = *name;
  }
  return result;
}

}  // namespace kvviz::pickle
