// SPDX-License-Identifier: MIT
#include "kvviz/report/console.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include <algorithm>
#include <cmath>

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

// Control characters spelt out, bad bytes replaced, cut to widest_text cells.
std::string printable(std::string_view text) {
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
    if (cells <= widest_text - 1) cut = out;
  });
  return cells <= widest_text ? out : cut + "\xE2\x80\xA6";
}

// Decimals that show four significant digits of the largest number; -1: numbers so large or small take an
// exponent.
int decimals_for(double largest) {
  if (largest == 0) return 0;
  const int magnitude = static_cast<int>(std::floor(std::log10(largest)));
  if (magnitude < -4 || magnitude > 8) return -1;
  return std::clamp(3 - magnitude, 0, 7);
}

// As decimals_for() of the largest, and more where the middle number needs them for three significant digits:
// one number that is far greater must not take them from the others.
int decimals_of(std::vector<double> sizes) {
  constexpr int most_digits = 9;
  std::erase_if(sizes, [](double size) { return !(size > 0); });
  if (sizes.empty()) return 0;
  std::ranges::sort(sizes);
  const int enough = decimals_for(sizes.back()), middle = decimals_for(sizes[sizes.size() / 2]);
  if (enough < 0 || middle <= 0) return enough;
  const int whole = static_cast<int>(std::floor(std::log10(sizes.back()))) + 1;
  return std::max(enough, std::min(middle - 1, most_digits - std::max(whole, 0)));
}

std::string with_decimals(double number, int decimals) {
  if (decimals < 0) return number == 0 ? "0" : fmt::format("{:.3e}", number);
  std::string text = fmt::format("{:.{}f}", number, decimals);
  const bool vanished = number != 0 && text.find_first_of("123456789") == std::string::npos;
  if (vanished) return fmt::format("{:.1e}", number);
  return number == 0 && text.front() == '-' ? text.substr(1) : text;
}

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  const size_t first = number < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

struct Lines {
  std::string title;
  std::vector<std::string> cells;
  int width = 0;
  bool right = true;
};

Lines lines_of(const Table& table, size_t c, size_t rows) {
  const Column& column = table.columns[c];
  Lines lines{.title = column.unit.empty() ? column.name : column.name + " [" + column.unit + "]",
              .cells = {},
              .right = column.type != ColumnType::text};
  std::vector<double> sizes;
  for (const auto& row : table.rows) sizes.push_back(std::abs(number_in(row[c]).value_or(0)));
  const int decimals = decimals_of(std::move(sizes));
  lines.width = cells_of(lines.title);
  for (size_t r = 0; r < rows; ++r) {
    const Cell& cell = table.rows[r][c];
    std::string text = "-";
    if (const auto* words = std::get_if<std::string>(&cell)) {
      text = printable(*words);
    } else if (const auto number = number_in(cell)) {
      text = column.type == ColumnType::integer ? std::to_string(std::get<int64_t>(cell))
                                                : with_decimals(*number, decimals);
    }
    lines.width = std::max(lines.width, cells_of(text));
    lines.cells.push_back(std::move(text));
  }
  return lines;
}

std::string padded(const std::string& text, const Lines& lines) {
  const std::string space(static_cast<size_t>(std::max(0, lines.width - cells_of(text))), ' ');
  return lines.right ? space + text : text + space;
}

void append_line(std::string& out, std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  out += line + '\n';
}

}  // namespace

int terminal_width(int descriptor) {
  winsize size{};
  if (isatty(descriptor) == 0 || ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 100;
  return size.ws_col;
}

std::string to_console(const Table& table, const ConsoleStyle& style) {
  validate(table);
  const auto rows = std::min(table.rows.size(), static_cast<size_t>(std::max<int64_t>(style.max_rows, 1)));
  const auto is_key = [&](const Column& column) {
    return std::find(table.key.begin(), table.key.end(), column.name) != table.key.end();
  };
  std::vector<Lines> columns;
  for (size_t c = 0; c < table.columns.size(); ++c) columns.push_back(lines_of(table, c, rows));

  const int gap_width = cells_of(gap);
  int room = style.width + gap_width;
  for (size_t c = 0; c < columns.size(); ++c)
    if (is_key(table.columns[c])) room -= columns[c].width + gap_width;
  std::vector<size_t> shown;
  std::string hidden;
  for (size_t c = 0; c < columns.size(); ++c) {
    const int needed = columns[c].width + gap_width;
    if (is_key(table.columns[c])) {
      shown.push_back(c);
    } else if (hidden.empty() && needed <= room) {
      shown.push_back(c);
      room -= needed;
    } else {
      hidden += (hidden.empty() ? "" : ", ") + table.columns[c].name;
    }
  }

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
    out += fmt::format("... {} more rows\n", grouped(static_cast<int64_t>(table.rows.size() - rows)));
  if (!hidden.empty()) out += "not shown: " + hidden + '\n';
  return out;
}

std::string to_console(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return printable(*text);
  if (const auto* whole = std::get_if<int64_t>(&cell)) return grouped(*whole);
  const auto number = number_in(cell);
  if (!number) return "- (" + reason_of(cell) + ")";
  return with_decimals(*number, decimals_for(std::abs(*number)));
}

std::string summary_to_console(const Result& result) {
  int width = 0;
  for (const Fact& fact : result.summary) width = std::max(width, cells_of(fact.label));
  std::string out;
  for (const Fact& fact : result.summary) {
    const std::string space(static_cast<size_t>(width - cells_of(fact.label)), ' ');
    const bool unit = !fact.unit.empty() && reason_of(fact.value).empty();
    append_line(out, fact.label + space + gap + to_console(fact.value) + (unit ? " " + fact.unit : ""));
  }
  return out;
}

}  // namespace kvviz
