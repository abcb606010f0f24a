// SPDX-License-Identifier: MIT
#include "kvviz/engine/entry.hpp"

#include <cstdlib>

#include "kvviz/core/free_memory.hpp"

namespace kvviz {

std::string said_by_libtorch(const c10::Error& error) {
  const std::string said = error.what_without_backtrace();
  constexpr std::string_view tried = "tried to allocate ";
  const size_t at = said.find(tried);
  if (at == std::string::npos) return said;
  return no_memory_text(std::strtoll(said.c_str() + at + tried.size(), nullptr, 10));
}

}  // namespace kvviz
