// SPDX-License-Identifier: MIT
#include "kvviz/model/arch/values.hpp"

#include <cmath>
#include <optional>

#include "kvviz/core/json_number.hpp"

namespace kvviz::arch {
namespace {

using nlohmann::json;

constexpr size_t longest_shown = 60;
constexpr int deepest_config = 64;

[[noreturn]] void refuse(const json& value, const std::string& key, const std::string& expected) {
  throw DataError(
      cat("config.json: ", key, " is ", value.is_null() ? "missing" : shown(value), "; expected ", expected));
}

// Configurations are written by hand, and by programs of many languages: 4096.0 is taken too.
std::optional<int64_t> whole_of(const json& value) {
  constexpr double exact = 1LL << 53;
  if (!value.is_number_float()) return whole_number(value);
  const auto real = value.get<double>();
  if (!(std::abs(real) <= exact) || std::trunc(real) != real) return {};
  return static_cast<int64_t>(real);
}

std::string range_text(const Limits& limits) {
  return cat("a whole number from ", limits.least, " to ", limits.most);
}

template <class T>
std::vector<T> list(const json& value, const std::string& key) {
  if (!value.is_array()) refuse(value, key, "a list");
  std::vector<T> all;
  for (const json& element : value) all.push_back(convert<T>(element, "an element of " + key));
  return all;
}

}  // namespace

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > longest_shown) text = text.substr(0, longest_shown) + "...";
  return text;
}

template <>
json convert(const json& value, const std::string&) {
  return value;
}

template <>
bool convert(const json& value, const std::string& key) {
  if (!value.is_boolean()) refuse(value, key, "true or false");
  return value.get<bool>();
}

template <>
int64_t convert(const json& value, const std::string& key) {
  const auto number = whole_of(value);
  if (!number) refuse(value, key, "a whole number");
  return *number;
}

template <>
double convert(const json& value, const std::string& key) {
  if (!value.is_number() || !std::isfinite(value.get<double>())) refuse(value, key, "a finite number");
  return value.get<double>();
}

template <>
std::string convert(const json& value, const std::string& key) {
  if (!value.is_string()) refuse(value, key, "text");
  return value.get<std::string>();
}

template <>
std::vector<int64_t> convert(const json& value, const std::string& key) {
  return list<int64_t>(value, key);
}

template <>
std::vector<double> convert(const json& value, const std::string& key) {
  return list<double>(value, key);
}

template <>
std::vector<std::string> convert(const json& value, const std::string& key) {
  return list<std::string>(value, key);
}

const json& value_at(const json& config, const char* key) {
  static const json null;
  const auto found = config.find(key);
  return found == config.end() ? null : *found;
}

int64_t whole(const json& config, const char* key, const Limits& limits) {
  const json& value = value_at(config, key);
  const auto number = whole_of(value);
  if (!number || *number < limits.least || *number > limits.most) refuse(value, key, range_text(limits));
  return *number;
}

int64_t whole_or(const json& config, const char* key, const Limits& limits, int64_t fallback) {
  return value_at(config, key).is_null() ? fallback : whole(config, key, limits);
}

double number(const json& config, const char* key) {
  return convert<double>(value_at(config, key), key);
}

void require_value(const json& config, const char* key, const json& supported) {
  const json& value = value_at(config, key);
  require(value.is_null() || value == supported, "config.json: ", key, " ", shown(value),
          " is not supported; supported: ", shown(supported));
}

void require_flat(const json& config) {
  std::vector<const json*> level = {&config};
  for (int depth = 0; !level.empty(); ++depth) {
    require(depth < deepest_config, "config.json is nested more than ", deepest_config, " levels deep");
    std::vector<const json*> below;
    for (const json* value : level)
      if (value->is_structured())
        for (const json& part : *value) below.push_back(&part);
    level = std::move(below);
  }
}

}  // namespace kvviz::arch
