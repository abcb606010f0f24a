// SPDX-License-Identifier: MIT
#include "kvviz/formats/gguf.hpp"

#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

template <class T>
T packed(const GgufArray& array, uint64_t index) {
  T value;
  std::memcpy(&value, array.numbers.data() + index * sizeof(T), sizeof(T));
  return value;
}

// Calls use(number) for every element, in its own type; false where the elements are no numbers.
template <class Use>
bool each_number(const GgufArray& array, const Use& use) {
  const auto all = [&]<class T>(T) {
    for (uint64_t i = 0; i < array.count; ++i) use(packed<T>(array, i));
    return true;
  };
  switch (array.element) {
    case GgufType::u8:
      return all(uint8_t{});
    case GgufType::i8:
      return all(int8_t{});
    case GgufType::u16:
      return all(uint16_t{});
    case GgufType::i16:
      return all(int16_t{});
    case GgufType::u32:
      return all(uint32_t{});
    case GgufType::i32:
      return all(int32_t{});
    case GgufType::u64:
      return all(uint64_t{});
    case GgufType::i64:
      return all(int64_t{});
    case GgufType::f32:
      return all(float{});
    case GgufType::f64:
      return all(double{});
    case GgufType::boolean:
    case GgufType::text:
    case GgufType::array:
      break;
  }
  return false;
}

constexpr auto largest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

}  // namespace

const GgufValue* GgufFile::find(const std::string& key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

const GgufValue& GgufFile::at(const std::string& key) const {
  const GgufValue* value = find(key);
  require(value != nullptr, name_, ": the metadata lack ", key);
  return *value;
}

const GgufArray& GgufFile::array(const std::string& key) const {
  const auto* found = std::get_if<GgufArray>(&at(key).value);
  require(found != nullptr, name_, ": ", key, " is not an array");
  return *found;
}

std::string GgufFile::text(const std::string& key) const {
  const auto* found = std::get_if<std::string_view>(&at(key).value);
  require(found != nullptr, name_, ": ", key, " is not a text");
  return std::string(*found);
}

int64_t GgufFile::integer(const std::string& key) const {
  const GgufValue& value = at(key);
  if (const auto* small = std::get_if<int64_t>(&value.value)) return *small;
  const auto* large = std::get_if<uint64_t>(&value.value);
  require(large != nullptr && *large <= largest, name_, ": ", key, " is not an integer of 63 bits");
  return static_cast<int64_t>(*large);
}

double GgufFile::number(const std::string& key) const {
  const GgufValue& value = at(key);
  if (const auto* real = std::get_if<double>(&value.value)) return *real;
  return static_cast<double>(integer(key));
}

bool GgufFile::boolean(const std::string& key) const {
  const auto* found = std::get_if<bool>(&at(key).value);
  require(found != nullptr, name_, ": ", key, " is neither true nor false");
  return *found;
}

std::vector<std::string> GgufFile::texts(const std::string& key) const {
  const GgufArray& found = array(key);
  require(found.element == GgufType::text || found.count == 0, name_, ": ", key, " is not an array of texts");
  return {found.texts.begin(), found.texts.end()};
}

std::vector<int64_t> GgufFile::integers(const std::string& key) const {
  const GgufArray& found = array(key);
  std::vector<int64_t> values;
  const bool numbers = each_number(found, [&]<class T>(T value) {
    if constexpr (std::is_integral_v<T>) {
      require(std::in_range<int64_t>(value), name_, ": ", key, " holds ", value, ", which is over 63 bits");
      values.push_back(static_cast<int64_t>(value));
    }
  });
  require(numbers && values.size() == found.count, name_, ": ", key, " is not an array of integers");
  return values;
}

std::vector<float> GgufFile::numbers(const std::string& key) const {
  std::vector<float> values;
  const bool numbers =
      each_number(array(key), [&](auto value) { values.push_back(static_cast<float>(value)); });
  require(numbers, name_, ": ", key, " is not an array of numbers");
  return values;
}

std::string GgufFile::text(const std::string& key, const std::string& otherwise) const {
  return has(key) ? text(key) : otherwise;
}
int64_t GgufFile::integer(const std::string& key, int64_t otherwise) const {
  return has(key) ? integer(key) : otherwise;
}
double GgufFile::number(const std::string& key, double otherwise) const {
  return has(key) ? number(key) : otherwise;
}
bool GgufFile::boolean(const std::string& key, bool otherwise) const {
  return has(key) ? boolean(key) : otherwise;
}

}  // namespace kvviz
