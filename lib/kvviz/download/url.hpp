// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <string_view>

namespace kvviz::hub {

/// An http or https address, taken apart.
struct Url {
  std::string scheme;  ///< http, https
  std::string host;    ///< lower case; of IPv6 without brackets
  int port = 0;
  std::string target;  ///< path and query, percent-encoded, from / on; no fragment

  /// Where requests go; an access token stays with one origin.
  std::string origin() const;
  std::string text() const { return origin() + target; }
  bool operator==(const Url&) const = default;
};

/// Throws DataError for another scheme, a user or password in the address, a host or port that is none, and
/// for control characters and white space, which could end a request's line. Bytes beyond ASCII are encoded.
Url parse_url(const std::string& text);

/// What a `Location` of a redirect means, seen from `base`: an address, //host/path, /path, or path. Throws
/// as parse_url().
Url resolve(const Url& base, const std::string& location);

/// Percent-encodes all but letters, digits, -, ., _, ~ and the characters of `also`.
std::string percent_encoded(std::string_view text, std::string_view also = "");

/// For messages and tables: control characters become ?, so that no text from a server moves the cursor or
/// colours the terminal; cut to `most` bytes, at a character of UTF-8.
std::string printable(std::string_view text, size_t most = 300);

}  // namespace kvviz::hub
