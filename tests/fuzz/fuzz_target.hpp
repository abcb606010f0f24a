// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kvviz/core/error.hpp"
#include "kvviz/formats/stored_tensor.hpp"
#include "support/temporary_folder.hpp"

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

/// How inputs have ended so far.
struct Outcomes {
  int64_t read = 0, refused = 0;
  int depth = 0;  ///< of survives() in survives()
};
inline Outcomes& outcomes() {
  static Outcomes all;
  return all;
}

/// Runs what reads an input; the errors that it declares are the right answer to a bad one. Counts the input
/// as read or as refused, but inside of another survives().
template <class Error = DataError, class Read>
int survives(const Read& read) {
  Outcomes& all = outcomes();
  ++all.depth;
  bool refused = false;
  try {
    read();
  } catch (const Error&) {
    refused = true;
  } catch (...) {
    --all.depth;
    throw;
  }
  if (--all.depth == 0) ++(refused ? all.refused : all.read);
  return 0;
}

/// The input as a file of this name in the folder, for readers that open files by their paths. Every input
/// has a folder of its own: a path whose file changes is noticed, and refused.
inline std::filesystem::path as_file(const TemporaryFolder& folder, std::string_view bytes,
                                     const std::string& name) {
  std::filesystem::path file = folder / name;
  std::ofstream(file, std::ios::binary) << bytes;
  return file;
}

/// An input that stands for several files, of these names in this order, with a line %%%% between them.
inline void as_files(const TemporaryFolder& folder, std::string_view text,
                     std::initializer_list<const char*> names) {
  constexpr std::string_view line = "\n%%%%\n";
  for (const char* name : names) {
    const size_t end = text.find(line);
    as_file(folder, text.substr(0, end), name);
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + line.size());
  }
}

/// Ends the program: a reader gave back what no file may hold.
inline void expect(bool ok, const char* what) {
  if (!ok) throw std::logic_error(what);
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
