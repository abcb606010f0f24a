// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/oniguruma.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/regex.hpp"

namespace kvviz {
namespace {

// Oniguruma's \w: in Latin-1 a table of its own, which has the superscripts and fractions too.
constexpr std::string_view word_members = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";

/// Reads an Oniguruma pattern from left to right and writes its PCRE2 equivalent.
class Translation {
 public:
  explicit Translation(std::string_view pattern) : pattern_(pattern) {}

  std::string run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape(Place::outside);
      } else if (c == '[') {
        character_class();
      } else if (c == '(') {
        group();
      } else if (c == '{') {
        repeat();
      } else {
        copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  enum class Place { outside, in_class };

  [[noreturn]] void refuse(std::string_view what) const {
    throw DataError(cat("[tokenizer] the pre-tokeniser's regular expression ", pattern_, " uses ", what,
                        " at offset ", at_, ", which is not supported"));
  }

  bool starts(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  void copy(size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }

  void replace(size_t count, std::string_view with) {
    out_ += with;
    at_ += count;
  }

  // A set of characters: bare inside a class, in brackets of its own outside.
  void set(std::string_view members, Place place) {
    replace(2, place == Place::in_class ? std::string(members) : cat('[', members, ']'));
  }

  void escape(Place place) {
    if (at_ + 1 == pattern_.size()) refuse("a trailing backslash");
    const char c = pattern_[at_ + 1];
    if (!std::isalnum(static_cast<unsigned char>(c))) return copy(2);
    switch (c) {
      case 's':
        return replace(2, "\\p{White_Space}");
      case 'S':
        return replace(2, "\\P{White_Space}");
      case 'w':
        return set(word_members, place);
      case 'h':
        return set("0-9a-fA-F", place);
      case 'v':
        return replace(2, "\\x0B");
      case 'p':
      case 'P':
        return property();
      case 'd':
      case 'D':
      case 't':
      case 'n':
      case 'r':
      case 'f':
      case 'a':
      case 'e':
        return copy(2);
      case 'A':
      case 'z':
      case 'Z':
        if (place == Place::outside) return copy(2);
        break;
      case 'x':
        if (starts("\\x{")) return copy(2);
        break;
      default:
        break;
    }
    refuse(cat("the escape \\", c));
  }

  void property() {
    const size_t close = pattern_.find('}', at_);
    if (at_ + 2 >= pattern_.size() || pattern_[at_ + 2] != '{' || close == std::string_view::npos) {
      refuse("a property without braces");
    }
    std::string_view name = pattern_.substr(at_ + 3, close - at_ - 3);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    // PCRE2 reads a bare script name as its script extensions, Oniguruma as the script itself.
    const std::string script = cat("sc:", name);
    const bool category = name.size() <= 2;
    out_ += cat(pattern_.substr(at_, 3), negated ? "^" : "",
                !category && known_property(script) ? std::string_view(script) : name, '}');
    at_ = close + 1;
  }

  static bool known_property(const std::string& name) {
    try {
      const Regex probe(cat("\\p{", name, '}'));
      return true;
    } catch (const DataError&) {
      return false;
    }
  }

  void character_class() {
    copy(1);
    if (starts("^")) copy(1);
    if (starts("]")) copy(1);
    class_members();
    copy(1);
  }

  // Up to the closing bracket. A class in a class is the union of the two, so its members are written in
  // line.
  void class_members() {
    while (!starts("]")) {
      if (at_ >= pattern_.size()) refuse("a class without end");
      if (starts("&&")) refuse("a class intersection");
      if (starts("[")) {
        inner_class();
      } else if (starts("\\")) {
        escape(Place::in_class);
      } else if (starts("-[")) {
        replace(1, "\\-");
      } else {
        copy(1);
      }
    }
  }

  void inner_class() {
    if (starts("[:")) refuse("a POSIX class");
    if (starts("[^")) refuse("a negated class in a class");
    ++at_;
    if (starts("]")) replace(1, "\\]");
    if (starts("-")) replace(1, "\\-");
    class_members();
    // A hyphen at the end of the inner class, or after it, means itself.
    if (out_.ends_with('-') && !out_.ends_with("\\-")) out_.insert(out_.size() - 1, 1, '\\');
    ++at_;
    if (starts("-")) replace(1, "\\-");
  }

  void group() {
    if (starts("(*")) refuse("a verb");
    constexpr std::array<std::string_view, 7> known = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    const auto opening =
        std::find_if(known.begin(), known.end(), [&](std::string_view o) { return starts(o); });
    if (opening != known.end()) return copy(opening->size());
    if (starts("(?")) refuse(cat("the group ", pattern_.substr(at_, 4)));
    copy(1);
  }

  void repeat() {
    const size_t close = pattern_.find('}', at_);
    const std::string_view inside =
        close == std::string_view::npos ? std::string_view{} : pattern_.substr(at_ + 1, close - at_ - 1);
    const bool counts =
        !inside.empty() && inside != "," && std::all_of(inside.begin(), inside.end(), [](char c) {
          return std::isdigit(static_cast<unsigned char>(c)) || c == ',';
        });
    if (!counts) return replace(1, "\\{");
    const std::string_view after = pattern_.substr(close + 1, 1);
    if (after == "+") refuse("a {} repeat followed by +");
    if (after == "?" && inside.find(',') == std::string_view::npos) refuse("a {n} repeat followed by ?");
    if (inside.starts_with(',')) return replace(close + 1 - at_, cat("{0", inside, '}'));
    copy(close + 1 - at_);
  }

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string pcre_from_oniguruma(std::string_view pattern) {
  return Translation(pattern).run();
}

}  // namespace kvviz
