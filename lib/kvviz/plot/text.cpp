// SPDX-License-Identifier: MIT
#include "kvviz/plot/text.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>

namespace kvviz::plot {
namespace {

constexpr char32_t kMalformed = 0xfffd;

/// Takes one code point off the front; kMalformed and one byte for anything that is not UTF-8.
char32_t take(std::string_view& text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t length = first < 0x80         ? 1
                        : first >> 5 == 0x6  ? 2
                        : first >> 4 == 0xe  ? 3
                        : first >> 3 == 0x1e ? 4
                                             : 0;
  char32_t point = length == 1 ? first : first & (0x7fu >> length);
  bool ok = length > 0 && length <= text.size();
  for (size_t i = 1; ok && i < length; ++i) {
    ok = byte(i) >> 6 == 0x2;
    point = point << 6 | (byte(i) & 0x3fu);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  ok = ok && point >= least[length] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
  text.remove_prefix(ok ? length : 1);
  return ok ? point : kMalformed;
}

void put(std::string& out, char32_t point) {
  const auto byte = [&](char32_t value) {
    out.push_back(static_cast<char>(static_cast<unsigned char>(value)));
  };
  if (point < 0x80) {
    byte(point);
  } else if (point < 0x800) {
    byte(0xc0 | point >> 6), byte(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    byte(0xe0 | point >> 12), byte(0x80 | (point >> 6 & 0x3f)), byte(0x80 | (point & 0x3f));
  } else {
    byte(0xf0 | point >> 18), byte(0x80 | (point >> 12 & 0x3f)), byte(0x80 | (point >> 6 & 0x3f)),
        byte(0x80 | (point & 0x3f));
  }
}

bool is_invisible(char32_t point) {
  return (point >= 0x7f && point < 0xa0) || point == 0xad || (point >= 0x200b && point <= 0x200f) ||
         (point >= 0x2028 && point <= 0x202e) || (point >= 0x2060 && point <= 0x206f) || point == 0xfeff ||
         point >= 0xe0000 || (point & 0xfffe) == 0xfffe;
}

struct WhiteSpace {
  char32_t space, line_feed, tab;
};

std::string cleaned(std::string_view text, const WhiteSpace& shown) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const char32_t point = take(text);
    if (point == ' ') {
      put(out, shown.space);
    } else if (point == '\n') {
      put(out, shown.line_feed);
    } else if (point == '\t') {
      put(out, shown.tab);
    } else if (point < 0x20 || point == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(point));
    } else if (is_invisible(point)) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(point));
    } else {
      put(out, point);
    }
  }
  return out;
}

/// Everything with a meaning to gnuplot anywhere goes as an octal escape. (Single quotes do not serve:
/// gnuplot misreads a doubled quote at the start of a literal.)
std::string literal(std::string_view text) {
  static constexpr std::string_view kPlain = " .,:;()|/_+-=<>?*&~^[]%";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (word || byte >= 0x80 || kPlain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("\\{:03o}", byte);
    }
  }
  return out + '"';
}

/// Advance widths of U+0020 .. U+007E in 1/1000 of the size.
constexpr std::array<int, 95> kAdvance{
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361,  318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635,  611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352,  635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592,  525, 636, 337, 636, 838};

int advance(char32_t point) {
  if (point >= 0x20 && point < 0x7f) return kAdvance[point - 0x20];
  if (point < 0x20) return 0;
  if (point < 0x1100) return 700;
  if (point == 0x2070 || (point >= 0x2074 && point <= 0x208e)) return 450;
  return point >= 0x2e80 || point < 0x2000 ? 1050 : 850;  // CJK comes from another font, one em wide
}

}  // namespace

std::string one_line(std::string_view text) {
  return cleaned(text, {' ', ' ', ' '});
}

std::string visible(std::string_view token) {
  return token.empty() ? "(empty)" : cleaned(token, {0x2423, 0x23ce, 0x21e5});
}

std::string quoted(std::string_view text) {
  return literal(one_line(text));
}

std::string quoted_tick(std::string_view text) {
  std::string out;
  for (const char c : one_line(text)) out.append(c == '%' ? 2 : 1, c);
  return literal(out);
}

double text_width(std::string_view text, double size) {
  int64_t thousandths = 0;
  while (!text.empty()) thousandths += advance(take(text));
  return static_cast<double>(thousandths) / 1000 * size;
}

std::string shortened(std::string_view text, double width, double size) {
  if (text_width(text, size) <= width) return std::string(text);
  const double ellipsis = text_width("…", size);
  std::string out;
  double used = ellipsis;
  while (!text.empty()) {
    const char32_t point = take(text);
    used += advance(point) / 1000.0 * size;
    if (used > width) break;
    put(out, point);
  }
  return out + "…";
}

std::vector<std::string> wrapped(std::string_view text, double width, double size) {
  std::vector<std::string> lines;
  std::string line;
  const std::string clean = one_line(text);
  for (std::string_view rest = clean; !rest.empty();) {
    const size_t space = rest.find(' ');
    const std::string_view word = rest.substr(0, space);
    rest.remove_prefix(space == std::string_view::npos ? rest.size() : space + 1);
    if (word.empty()) continue;
    const std::string longer = line.empty() ? shortened(word, width, size) : line + ' ' + std::string(word);
    if (line.empty() || text_width(longer, size) <= width) {
      line = longer;
    } else {
      lines.push_back(line);
      line = shortened(word, width, size);
    }
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

}  // namespace kvviz::plot
