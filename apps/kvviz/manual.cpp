// SPDX-License-Identifier: MIT
#include "kvviz/manual.hpp"

#include <algorithm>
#include <cctype>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/core/version.hpp"
#include "kvviz/option_values.hpp"

namespace kvviz {
namespace {

// Text as roff takes it: characters that it would change are spelt out.
std::string roff(const std::string& text) {
  std::string out = !text.empty() && (text.front() == '.' || text.front() == '\'') ? "\\&" : "";
  for (const char c : text) switch (c) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '\'':
        out += "\\(aq";
        break;
      case '`':
        out += "\\(ga";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      default:
        out += c;
    }
  return out;
}

std::string bold(const std::string& text) {
  return "\\fB" + roff(text) + "\\fR";
}

std::string italic(const std::string& text) {
  return "\\fI" + roff(text) + "\\fR";
}

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::string sentence(std::string text) {
  const size_t word = std::min(text.find(' '), text.size());
  const bool name = word > 0 && (text[word - 1] == ',' || text[word - 1] == ':');  // snapkv, pyramidkv: ...
  if (!text.empty() && !name)
    text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
  return text.ends_with('.') ? text : text + '.';
}

std::string joined(const std::vector<std::string>& words, const std::string& between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

bool is_list(const CLI::Option& option) {
  return option.get_items_expected_max() > 1;
}

std::string option_entry(const CLI::Option& option) {
  const OptionValues values = values_of(option);
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back(bold("-" + name));
  for (const std::string& name : option.get_lnames()) names.push_back(bold("--" + name));
  if (option.get_positional()) names = {italic(option.get_name())};
  std::string text = ".TP\n" + joined(names, ", ");
  if (takes_value(option) && !option.get_positional())
    text +=
        ' ' + italic(values.placeholder) + (values.list ? "[," + italic(values.placeholder) + "...]" : "");
  text += '\n' + roff(sentence(option.get_description())) + '\n';
  if (!values.names.empty())
    text += roff(cat(values.list                ? "Of "
                     : values.names.size() == 1 ? "Only "
                                                : "One of ",
                     joined(values.names, ", "), ".")) +
            '\n';
  if (!option.get_default_str().empty()) text += roff("Default: " + option.get_default_str()) + '\n';
  return text;
}

std::string option_sections(const CLI::App& command) {
  std::string text;
  for (const std::string& group : command.get_groups()) {
    const auto options = command.get_options(
        [&](const CLI::Option* option) { return option->get_group() == group && !option->get_positional(); });
    if (group.empty() || options.empty()) continue;
    text += group == "Options" ? "" : ".SS " + roff(group) + '\n';
    for (const CLI::Option* option : options) text += option_entry(*option);
  }
  return text.empty() ? "" : ".SH OPTIONS\n" + text;
}

std::string synopsis(const CLI::App& command, const std::vector<const CLI::Option*>& positionals) {
  std::string text = ".SH SYNOPSIS\n" + bold(command_path(command, ' ')) + " [" + italic("OPTION") + "]...";
  if (!subcommands(command).empty()) text += ' ' + italic("COMMAND") + " [" + italic("OPTION") + "]...";
  for (const CLI::Option* option : positionals) {
    const std::string name = italic(option->get_name()) + (is_list(*option) ? "..." : "");
    text += option->get_required() ? ' ' + name : " [" + name + ']';
  }
  return text + '\n';
}

std::string commands_section(const CLI::App& command) {
  std::string text;
  for (const CLI::App* sub : subcommands(command))
    text += ".TP\n" + bold(command_path(*sub, '-')) + "(1)\n" + roff(sentence(sub->get_description())) + '\n';
  return text.empty() ? "" : ".SH COMMANDS\n" + text;
}

constexpr const char* exit_status = R"(.SH "EXIT STATUS"
.TP
0
Done.
.TP
1
A file or a model is not what it should be, or is missing.
.TP
2
The command line or the configuration is wrong.
.TP
3
Internal error: a bug.
.TP
4
Done, and a gate (\-\-fail\-if) fired or a number moved beyond \-\-tolerance.
)";

constexpr const char* environment = R"(.SH ENVIRONMENT
.TP
.BR HF_HUB_CACHE ", " HF_HOME
Where downloaded models are kept, as for Python\(aqs huggingface_hub.
.TP
.BR HF_TOKEN ", " HF_TOKEN_PATH
Access to gated models.
.TP
.B HF_ENDPOINT
The hub, if not https://huggingface.co.
.TP
.B HF_HUB_OFFLINE
1: no connections.
.TP
.B COLUMNS
Width of tables where stdout is no terminal (100 if unset).
.TP
.B NO_COLOR
Always respected: nothing is printed in colour.
)";

std::string see_also(const CLI::App& command) {
  std::vector<std::string> pages;
  for (const CLI::App* app = command.get_parent(); app != nullptr; app = app->get_parent())
    pages.push_back(bold(command_path(*app, '-')) + "(1)");
  const CLI::App* topic = &command;
  while (topic->get_parent() != nullptr && topic->get_parent()->get_parent() != nullptr)
    topic = topic->get_parent();
  std::string text = ".SH \"SEE ALSO\"\n" + joined(pages, ",\n") + (pages.empty() ? "" : ",\n");
  const bool whole = command.get_parent() == nullptr;
  return text + italic(whole ? "README.md" : "docs/" + topic->get_name() + ".md") +
         " in share/doc/kvviz of the installation\n";
}

}  // namespace

std::string manual_page(const CLI::App& command) {
  const std::string name = command_path(command, '-');
  const auto positionals =
      command.get_options([](const CLI::Option* option) { return option->get_positional(); });
  const bool whole = command.get_parent() == nullptr;
  std::string text = cat(".TH \"", roff(upper(name)), "\" 1 \"\" \"kvviz ", version, "\" \"kvviz manual\"\n");
  std::string what = command.get_description();
  if (whole && what.ends_with('.')) what.pop_back();
  text += ".SH NAME\n" + roff(name) + " \\- " + roff(what) + '\n';
  text += synopsis(command, positionals);
  if (!positionals.empty()) text += ".SH ARGUMENTS\n";
  for (const CLI::Option* option : positionals) text += option_entry(*option);
  text += commands_section(command) + option_sections(command);
  if (!whole) text += "Options of every command are in\n.BR kvviz (1).\n";
  text += exit_status;
  if (whole) text += environment;
  return text + see_also(command);
}

}  // namespace kvviz
