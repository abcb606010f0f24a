// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvviz/core/error.hpp"

// Values of config.json, which comes from outside: every reader names the key, what it got and what it
// expected in a DataError.
namespace kvviz::arch {

/// What a whole number of config.json may be, both ends included.
struct Limits {
  int64_t least = 0, most = 0;
};

// Far above every published model, and low enough that neither the number of parameters nor the bytes of a
// cache of the whole context leave 64 bits, and that no list by layer or by expert fills the memory.
inline constexpr Limits width_limits{1, 1 << 20};  ///< hidden size, MLP, heads, head_dim
inline constexpr Limits layer_limits{1, 1024};     ///< layers
inline constexpr Limits expert_limits{1, 4096};    ///< experts of one layer
inline constexpr int64_t most_experts = 1 << 17;   ///< of all layers together
inline constexpr Limits vocabulary_limits{1, 1 << 24};
inline constexpr Limits context_limits{1, 1 << 28};  ///< positions
inline constexpr Limits window_limits{0, 1 << 28};   ///< 0: none

/// A value as text for messages, long ones cut.
std::string shown(const nlohmann::json& value);

/// `value` as a T: bool, int64_t, double (finite), std::string, std::vector of these, or JSON as it is.
template <class T>
T convert(const nlohmann::json& value, const std::string& key);
template <>
nlohmann::json convert(const nlohmann::json& value, const std::string& key);
template <>
bool convert(const nlohmann::json& value, const std::string& key);
template <>
int64_t convert(const nlohmann::json& value, const std::string& key);
template <>
double convert(const nlohmann::json& value, const std::string& key);
template <>
std::string convert(const nlohmann::json& value, const std::string& key);
template <>
std::vector<int64_t> convert(const nlohmann::json& value, const std::string& key);
template <>
std::vector<double> convert(const nlohmann::json& value, const std::string& key);
template <>
std::vector<std::string> convert(const nlohmann::json& value, const std::string& key);

/// The value of a key, or null where it is absent: published configs write both.
const nlohmann::json& value_at(const nlohmann::json& config, const char* key);

/// The value of a key, or `fallback` where it is absent or null.
template <class T>
T value_or(const nlohmann::json& config, const char* key, T fallback) {
  const nlohmann::json& value = value_at(config, key);
  return value.is_null() ? fallback : convert<T>(value, key);
}

/// The whole number of a key, which has to be there.
int64_t whole(const nlohmann::json& config, const char* key, const Limits& limits);
/// The same, or `fallback` where it is absent or null.
int64_t whole_or(const nlohmann::json& config, const char* key, const Limits& limits, int64_t fallback);

/// The number of a key, which has to be there.
double number(const nlohmann::json& config, const char* key);

/// Throws unless `key` has the supported value, or is absent or null.
void require_value(const nlohmann::json& config, const char* key, const nlohmann::json& supported);

/// Throws where brackets stand in brackets deeper than any configuration has them: taking such JSON apart
/// would need the stack.
void require_flat(const nlohmann::json& config);

}  // namespace kvviz::arch
