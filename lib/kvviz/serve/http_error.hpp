// SPDX-License-Identifier: MIT
#pragma once
#include <stdexcept>
#include <string>

#include "kvviz/core/error.hpp"

namespace kvviz::serve {

/// Thrown where nobody waits for the answer any more: the work is to end.
struct Gone {};

/// What a request is refused with.
struct HttpError : std::runtime_error {
  HttpError(int number, std::string name, const std::string& message)
      : std::runtime_error(message), status(number), code(std::move(name)) {}
  int status;
  std::string code;  ///< docs/http_api.md lists them
};

template <class... Parts>
HttpError bad_request(const Parts&... parts) {
  return {400, "bad_request", cat(parts...)};
}
template <class... Parts>
HttpError not_found(const Parts&... parts) {
  return {404, "not_found", cat(parts...)};
}
template <class... Parts>
HttpError conflict(const Parts&... parts) {
  return {409, "conflict", cat(parts...)};
}
template <class... Parts>
HttpError unusable(const Parts&... parts) {
  return {422, "unusable", cat(parts...)};
}
template <class... Parts>
HttpError too_many(const Parts&... parts) {
  return {429, "too_many", cat(parts...)};
}

}  // namespace kvviz::serve
