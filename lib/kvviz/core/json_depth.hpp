// SPDX-License-Identifier: MIT
#pragma once
#include <string_view>

namespace kvviz {

/// How deep brackets stand in brackets in a JSON text, outside of strings; the text need not be valid. Taking
/// deep JSON apart needs the stack, so a reader asks this before it parses what comes from outside.
int json_depth(std::string_view text);

}  // namespace kvviz
