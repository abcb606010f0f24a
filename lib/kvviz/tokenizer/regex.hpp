// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kvviz {

/// Bytes [begin, end) of a text.
struct ByteRange {
  size_t begin;
  size_t end;
};

/// A pattern that matches exactly `text`.
std::string literal_pattern(std::string_view text);

/// A compiled pattern; matching is thread-safe. Character properties are those of the PCRE2 library's
/// Unicode.
class Regex {
 public:
  /// A PCRE2 pattern. Throws DataError with PCRE2's message and the offset.
  explicit Regex(const std::string& pattern);

  /// All matches that are not empty, left to right, none overlapping. `text` must be valid UTF-8. Throws
  /// DataError when one match takes more than 200 million steps.
  std::vector<ByteRange> find_all(std::string_view text) const;

  /// Whether the pattern could match nothing at all.
  bool may_be_empty() const;

 private:
  std::shared_ptr<const void> code_;
  std::shared_ptr<void> limits_;
};

}  // namespace kvviz
