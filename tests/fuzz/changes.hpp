// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>

namespace kvviz::test {

/// `bytes` damaged as files are: flipped bits, runs of 0x00 or 0xff, a cut, parts that are doubled, missing
/// or in each other's place, and, where bytes look like them, lengths and offsets (little-endian integers no
/// larger than the file) and numbers written in digits, replaced by others, small, large, negative and none
/// at all. One to four such changes; the same `seed` makes the same ones on every machine.
std::string changed(std::string bytes, uint64_t seed);

}  // namespace kvviz::test
