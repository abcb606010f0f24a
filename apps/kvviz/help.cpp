// SPDX-License-Identifier: MIT
#include "kvviz/help.hpp"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <sstream>

#include "kvviz/option_values.hpp"
#include "kvviz/report/console.hpp"

namespace kvviz {
namespace {

constexpr size_t description_column = 30;  // CLI11's
constexpr size_t least_text = 20;          // columns for a description, or it is not broken for its sake

std::string fitted_line(std::string line, size_t columns, size_t indent) {
  std::string out;
  while (line.size() > columns) {
    const size_t first = line.find_first_not_of(' ');
    size_t at = line.rfind(' ', columns);
    if (at == std::string::npos || at <= first) at = line.rfind(',', columns - 1) + 1;
    if (at == 0 || at <= first) at = columns;
    out += line.substr(0, line.find_last_not_of(' ', at - 1) + 1) + '\n';
    const size_t next = line.find_first_not_of(' ', at);
    line = next == std::string::npos ? "" : std::string(indent, ' ') + line.substr(next);
  }
  return out + line + '\n';
}

}  // namespace

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  std::string text = CLI::Formatter::make_option_opts(option);
  const std::string& value = option->get_default_str();
  const size_t at = value.empty() ? std::string::npos : text.find('=' + value);
  return at == std::string::npos ? text : text.replace(at, value.size() + 1, " [" + value + "]");
}

void print_help(const CLI::App& app, int descriptor) {
  const std::string help = app.help(app.get_parent() == nullptr ? "" : command_path(*app.get_parent(), ' '));
  std::ostream& out = descriptor == STDERR_FILENO ? std::cerr : std::cout;
  out << (isatty(descriptor) == 1 ? fitted_help(help, terminal_width(descriptor)) : help);
}

std::string fitted_help(const std::string& help, int columns) {
  const auto width = std::max(static_cast<size_t>(columns), least_text);
  const size_t indent = width >= description_column + least_text ? description_column : 4;
  std::istringstream lines(help);
  std::string out;
  for (std::string line; std::getline(lines, line);)
    out += fitted_line(line, width, line.starts_with("  ") ? indent : 0);
  return out;
}

}  // namespace kvviz
