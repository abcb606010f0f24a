// SPDX-License-Identifier: MIT
#pragma once
#include <cerrno>
#include <cstring>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace kvviz {

/// The command line or the config is wrong: exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A file, a model, a text or the machine is not what it has to be: exit code 1.
struct DataError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What errno says when it is printed: in `require(close(file) == 0, errno_text)` strerror(errno) would be
/// called before close().
struct ErrnoText {};
inline constexpr ErrnoText errno_text{};
inline std::ostream& operator<<(std::ostream& out, ErrnoText) {
  return out << std::strerror(errno);
}

/// The parts, printed one after the other.
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// Throws E with the parts as its message unless `ok`. Message: what was got, what was expected, what to do.
template <class E = DataError, class... Parts>
void require(bool ok, const Parts&... parts) {
  if (!ok) throw E(cat(parts...));
}

}  // namespace kvviz
