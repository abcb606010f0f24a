// SPDX-License-Identifier: MIT
#include "kvviz/report/console.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string_view>
#include <vector>

namespace kvviz {
namespace {

constexpr int widest_text = 40;
constexpr const char* gap = "  ";

// One code point (or a byte that is not UTF-8) at a time: its bytes and how many character cells it takes.
template <class Visit>
void for_each_character(std::string_view text, Visit&& visit) {
  while (!text.empty()) {
    utf8proc_int32_t code = 0;
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    const utf8proc_ssize_t used = utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size()), &code);
    const bool valid = used > 0;
    const size_t length = valid ? static_cast<size_t>(used) : 1;
    visit(text.substr(0, length), valid ? code : 0xFFFD, valid ? utf8proc_charwidth(code) : 1);
    text.remove_prefix(length);
  }
}

int cells_of(std::string_view text) {
  int cells = 0;
  for_each_character(text, [&](std::string_view, int, int width) { cells += width; });
  return cells;
}

// Control characters spelt out, bad bytes replaced, cut to `widest` cells.
std::string printable(std::string_view text, int widest) {
  std::string out;
  std::string cut;
  int cells = 0;
  for_each_character(text, [&](std::string_view bytes, int code, int width) {
    std::string shown(bytes);
    if (code == '\n') {
      shown = "\\n";
    } else if (code == '\t') {
      shown = "\\t";
    } else if (code < 0x20 || (code >= 0x7F && code < 0xA0)) {
      shown = fmt::format("\\x{:02x}", code);
    } else if (code == 0xFFFD) {
      shown = "\xEF\xBF\xBD";
    }
    cells += shown.size() > bytes.size() ? static_cast<int>(shown.size()) : width;
    out += shown;
    if (cells <= widest - 1) cut = out;
  });
  return cells <= widest ? out : cut + "\xE2\x80\xA6";
}

// Decimals that show four significant digits of the largest number; -1: numbers so large or small take an
// exponent.
int decimals_for(double largest) {
  if (largest == 0) return 0;
  const int magnitude = static_cast<int>(std::floor(std::log10(largest)));
  if (magnitude < -4 || magnitude > 8) return -1;
  return std::clamp(3 - magnitude, 0, 7);
}

// Decimals that show two significant digits of a number that is not zero.
int decimals_needed(double size) {
  return std::max(0, 1 - static_cast<int>(std::floor(std::log10(size))));
}

// As decimals_for() of the largest, and more where the middle number needs them for three significant digits:
// one number that is far greater must not take them from the others. A few more again where they show the
// smaller ones, with one digit if not two; what is smaller still is not worth the width.
int decimals_of(std::vector<double> sizes) {
  constexpr int most_digits = 12, most_decimals = 7, worth_adding = 3;
  std::erase_if(sizes, [](double size) { return !(size > 0); });
  if (sizes.empty()) return 0;
  std::ranges::sort(sizes);
  const int enough = decimals_for(sizes.back()), middle = decimals_for(sizes[sizes.size() / 2]);
  if (enough < 0) return enough;
  const int whole = static_cast<int>(std::floor(std::log10(sizes.back()))) + 1;
  const int room = std::min(most_decimals, most_digits - std::max(whole, 0));
  int decimals = std::max(enough, std::min(middle - 1, room));
  const int most = std::min(decimals + worth_adding, room);
  for (const double size : sizes)
    if (const int needed = decimals_needed(size); needed <= most + 1)
      decimals = std::max(decimals, std::min(needed, most));
  return decimals;
}

enum class Thousands { plain, grouped };

// The digits before the decimal point in threes.
std::string grouped(std::string number) {
  const size_t first = number.front() == '-' ? 1 : 0;
  for (size_t at = std::min(number.find('.'), number.size()); at > first + 3;) number.insert(at -= 3, 1, ',');
  return number;
}

std::string with_decimals(double number, int decimals, Thousands thousands) {
  if (decimals < 0) return number == 0 ? "0" : fmt::format("{:.3e}", number);
  std::string text = fmt::format("{:.{}f}", number, decimals);
  if (text.find_first_of("123456789") == std::string::npos) {
    if (number == 0) return text.front() == '-' ? text.substr(1) : text;
    return fmt::format("{}{:.{}f}", number > 0 ? "<" : ">-", std::pow(10.0, -decimals), decimals);
  }
  return thousands == Thousands::grouped ? grouped(std::move(text)) : text;
}

std::string with_decimals(int64_t number, Thousands thousands) {
  std::string text = std::to_string(number);
  return thousands == Thousands::grouped ? grouped(std::move(text)) : text;
}

struct Lines {
  std::string title;
  std::vector<std::string> cells;
  int width = 0;
  bool right = true;
};

bool is_key(const Table& table, size_t c) {
  return std::ranges::find(table.key, table.columns[c].name) != table.key.end();
}

Lines lines_of(const Table& table, size_t c, size_t rows) {
  const Column& column = table.columns[c];
  Lines lines{.title = column.unit.empty() ? column.name : column.name + " [" + column.unit + "]",
              .cells = {},
              .right = column.type != ColumnType::text};
  std::vector<double> sizes;
  for (size_t r = 0; r < rows; ++r) sizes.push_back(std::abs(number_in(table.rows[r][c]).value_or(0)));
  const int decimals = decimals_of(std::move(sizes));
  const Thousands thousands = is_key(table, c) ? Thousands::plain : Thousands::grouped;
  lines.width = cells_of(lines.title);
  for (size_t r = 0; r < rows; ++r) {
    const Cell& cell = table.rows[r][c];
    std::string text = "-";
    if (const auto* words = std::get_if<std::string>(&cell)) {
      text = printable(*words, widest_text);
    } else if (const auto number = number_in(cell)) {
      text = column.type == ColumnType::integer ? with_decimals(std::get<int64_t>(cell), thousands)
                                                : with_decimals(*number, decimals, thousands);
    }
    lines.width = std::max(lines.width, cells_of(text));
    lines.cells.push_back(std::move(text));
  }
  return lines;
}

// The columns that are shown: the keys, and from the left as many of the others as fit and have a value.
std::vector<size_t> shown_columns(const Table& table, const std::vector<Lines>& columns, int width) {
  const int gap_width = cells_of(gap);
  int room = width + gap_width;
  for (size_t c = 0; c < columns.size(); ++c)
    if (is_key(table, c)) room -= columns[c].width + gap_width;
  std::vector<size_t> shown;
  bool full = false;
  for (size_t c = 0; c < columns.size(); ++c) {
    const auto end = table.rows.begin() + std::ssize(columns[c].cells);
    const auto is_missing = [&](const auto& row) { return !reason_of(row[c]).empty(); };
    const bool nothing = !columns[c].cells.empty() && std::all_of(table.rows.begin(), end, is_missing);
    if (is_key(table, c)) {
      shown.push_back(c);
    } else if (!nothing) {
      const int needed = columns[c].width + gap_width;
      full = full || needed > room;
      if (full) continue;
      shown.push_back(c);
      room -= needed;
    }
  }
  return shown;
}

std::string padded(const std::string& text, const Lines& lines) {
  const std::string space(static_cast<size_t>(std::max(0, lines.width - cells_of(text))), ' ');
  return lines.right ? space + text : text + space;
}

void append_line(std::string& out, std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  out += line + '\n';
}

// "tokens" for one token. Symbols such as ms stay as they are.
std::string unit_of(const Fact& fact) {
  const bool noun = fact.unit.size() > 3 && fact.unit.back() == 's' &&
                    std::ranges::all_of(fact.unit, [](char c) { return c >= 'a' && c <= 'z'; });
  const bool one = number_in(fact.value) == 1.0;
  return noun && one ? fact.unit.substr(0, fact.unit.size() - 1) : fact.unit;
}

}  // namespace

std::string in_lines(const std::string& text, int width, int indent) {
  std::string out;
  int used = 0;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    const int cells = cells_of(word);
    if (at > 0 && used + 1 + cells > width) {
      out += '\n' + std::string(static_cast<size_t>(indent), ' ');
      used = 0;
    } else if (at > 0) {
      out += ' ';
      ++used;
    }
    out += word;
    used += cells;
    at = end + 1;
  }
  return out;
}

int terminal_width(int descriptor) {
  winsize size{};
  if (isatty(descriptor) != 0 && ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  const std::string_view columns = std::getenv("COLUMNS") == nullptr ? "" : std::getenv("COLUMNS");
  int width = 0;
  const auto [end, error] = std::from_chars(columns.data(), columns.data() + columns.size(), width);
  const bool given = error == std::errc() && end == columns.data() + columns.size() && width > 0;
  return given ? width : 100;
}

std::string to_console(const Table& table, const ConsoleStyle& style) {
  validate(table);
  const auto rows = std::min(table.rows.size(), static_cast<size_t>(std::max<int64_t>(style.max_rows, 1)));
  std::vector<Lines> columns;
  for (size_t c = 0; c < table.columns.size(); ++c) columns.push_back(lines_of(table, c, rows));
  const std::vector<size_t> shown = shown_columns(table, columns, style.width);

  std::string out = table.name + '\n';
  std::string line;
  for (const size_t c : shown) line += (line.empty() ? "" : gap) + padded(columns[c].title, columns[c]);
  append_line(out, line);
  for (size_t r = 0; r < rows; ++r) {
    line.clear();
    for (const size_t c : shown)
      line += (c == shown.front() ? "" : gap) + padded(columns[c].cells[r], columns[c]);
    append_line(out, line);
  }
  if (rows < table.rows.size())
    out += fmt::format("... {} more rows\n", grouped(std::to_string(table.rows.size() - rows)));
  if (const size_t hidden = columns.size() - shown.size(); hidden > 0)
    append_line(out, in_lines(fmt::format("... {} more column{} in {}", hidden, hidden == 1 ? "" : "s",
                                          style.all_columns),
                              style.width, 4));
  return out;
}

std::string to_console(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell))
    return printable(*text, std::numeric_limits<int>::max());
  if (const auto* whole = std::get_if<int64_t>(&cell)) return with_decimals(*whole, Thousands::grouped);
  const auto number = number_in(cell);
  if (!number) return "- (" + reason_of(cell) + ")";
  return with_decimals(*number, decimals_for(std::abs(*number)), Thousands::grouped);
}

std::string summary_to_console(const Result& result, int width) {
  constexpr int least_room = 18;
  // A longer label stands on a line of its own, above its value.
  const int most_label = std::max(width - cells_of(gap), 2 * least_room) - least_room;
  int label_width = 0;
  for (const Fact& fact : result.summary)
    if (cells_of(fact.label) <= most_label) label_width = std::max(label_width, cells_of(fact.label));
  const int indent = label_width + cells_of(gap);
  std::string out;
  for (const Fact& fact : result.summary) {
    std::string line = fact.label;
    if (cells_of(line) > label_width) {
      append_line(out, in_lines(line, width, 2));
      line.clear();
    }
    line += std::string(static_cast<size_t>(indent - cells_of(line)), ' ');
    const bool unit = !fact.unit.empty() && reason_of(fact.value).empty();
    const std::string value = to_console(fact.value) + (unit ? " " + unit_of(fact) : "");
    append_line(out, line + in_lines(value, std::max(width - indent, least_room), indent));
  }
  return out;
}

}  // namespace kvviz
