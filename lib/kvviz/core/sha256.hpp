// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace kvviz {

/// SHA-256 of bytes, as 64 lower-case hexadecimal digits.
std::string sha256(std::string_view bytes);

/// SHA-256 of the contents of files, one after the other in the given order. Reads in blocks; throws
/// DataError naming the file that cannot be read.
std::string sha256_files(const std::vector<std::filesystem::path>& files);

}  // namespace kvviz
