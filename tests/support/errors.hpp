// SPDX-License-Identifier: MIT
#pragma once
#include <string>

#include "kvviz/core/error.hpp"

namespace kvviz::test {

/// The message of the exception that `work` throws; "" when it throws none, "another exception" for other
/// types.
template <class Error, class Work>
std::string message_of(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  } catch (...) {
    return "another exception";
  }
  return "";
}

inline bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace kvviz::test
