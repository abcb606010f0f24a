// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace kvviz {

/// Levenshtein's distance: the fewest bytes inserted, removed or replaced that make `b` of `a`. Cost: the
/// product of the lengths.
size_t edit_distance(std::string_view a, std::string_view b);

/// The one of `names` that `typed` is probably meant to be: the least edit_distance(), capitals and small
/// letters alike, the first of equals. When none is within a third of the length of `typed`, or within 1 of a
/// shorter text: the first that begins with `typed`, of two characters or more. Empty: none.
std::string likely_meant(std::string_view typed, std::span<const std::string> names);

}  // namespace kvviz
