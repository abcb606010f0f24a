// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kvviz/core/error.hpp"
#include "kvviz/formats/stored_tensor.hpp"

/// What libFuzzer and replay.cpp call with an input. It has to come back: errors that the reader declares are
/// caught in here, anything else that is thrown is a finding.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace kvviz::test {

inline std::span<const std::byte> as_bytes(const uint8_t* data, size_t size) {
  return std::as_bytes(std::span(data, size));
}
inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Runs what reads an input; its DataErrors are the right answer to a bad one.
template <class Read>
int survives(const Read& read) {
  try {
    read();
  } catch (const DataError&) {
  }
  return 0;
}

/// Touches every byte that a reader says is a tensor's.
inline void touch(const StoredTensors& tensors) {
  [[maybe_unused]] static volatile unsigned sink;
  unsigned sum = 0;
  for (const auto& [name, tensor] : tensors)
    for (const std::byte byte : tensor.bytes) sum += std::to_integer<unsigned>(byte);
  sink = sum;
}

}  // namespace kvviz::test
