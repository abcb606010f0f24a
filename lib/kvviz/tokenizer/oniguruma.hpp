// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <string_view>

namespace kvviz {

/// The PCRE2 pattern (for class Regex) that matches what Oniguruma's Ruby syntax, the syntax of
/// tokenizer.json, matches for `pattern`. The two differ in \s, \S, \w, \h, \v, \p{Script}, {,n} and classes
/// in classes, which are rewritten. Throws DataError naming the place and the construct where the meaning may
/// differ and nothing is rewritten: [:posix:], negated classes in classes, &&, {n}?, {n}+, flags other than
/// (?i:...), named groups, verbs, back-references, \b.
std::string pcre_from_oniguruma(std::string_view pattern);

}  // namespace kvviz
