// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kvviz {

/// Bytes of a size as people write it: "4096", "512B", "8GiB", "24 GB", "1.5T". K, M, G, T and P are powers
/// of 1000, Ki, Mi, Gi, Ti and Pi of 1024; the B may be left out, case does not matter. Rounded to whole
/// bytes. nullopt: not such a text, less than one byte, or 2^62 bytes and more.
std::optional<int64_t> parse_size(std::string_view text);

/// A size for readers: "80 GiB" where that is exact, else decimal with three digits: "17.2 GB", "36.9 kB".
std::string size_text(double bytes);

}  // namespace kvviz
