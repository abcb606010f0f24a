// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <limits>
#include <optional>

namespace kvviz {

/// The whole number of a JSON value; none for any other value, for one written with a point or an exponent,
/// and for one that 64 signed bits do not hold. For numbers from outside: `get<int64_t>()` of nlohmann-json
/// converts anything that is a number, wraps, and is undefined for a 1e40.
template <class Json>
std::optional<int64_t> whole_number(const Json& value) {
  constexpr auto most = uint64_t{std::numeric_limits<int64_t>::max()};
  if (!value.is_number_integer()) return {};
  if (value.is_number_unsigned() && value.template get<uint64_t>() > most) return {};
  return value.template get<int64_t>();
}

}  // namespace kvviz
