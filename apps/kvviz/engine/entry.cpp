// SPDX-License-Identifier: MIT
#include "kvviz/engine/entry.hpp"

#include <cstdlib>

#include "kvviz/core/free_memory.hpp"

namespace kvviz {
namespace {

constexpr std::string_view tried = "tried to allocate ";

}  // namespace

bool of_memory(const c10::Error& error) {
  return std::string_view(error.what_without_backtrace()).find(tried) != std::string_view::npos;
}

std::string said_by_libtorch(const c10::Error& error) {
  const std::string said = error.what_without_backtrace();
  const size_t at = said.find(tried);
  if (at == std::string::npos) return said;
  return no_memory_text(std::strtoll(said.c_str() + at + tried.size(), nullptr, 10));
}

}  // namespace kvviz
