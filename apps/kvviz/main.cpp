// SPDX-License-Identifier: MIT
#include <poll.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <new>
#include <sstream>
#include <system_error>

#include "kvviz/arguments.hpp"
#include "kvviz/bind.hpp"
#include "kvviz/build_facts.hpp"
#include "kvviz/command.hpp"
#include "kvviz/completion.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/free_memory.hpp"
#include "kvviz/core/interrupt.hpp"
#include "kvviz/core/version.hpp"
#include "kvviz/help.hpp"
#include "kvviz/manual.hpp"
#include "kvviz/option_values.hpp"
#include "kvviz/paths.hpp"
#include "kvviz/report/nearest.hpp"

namespace {

using namespace kvviz;

// The configuration as TOML. An option without a default is a comment: an empty text or path given in a file
// counts as given.
std::string configuration(const CLI::App& app) {
  std::istringstream lines(app.config_to_str(true, true));
  std::string text;
  for (std::string line; std::getline(lines, line);)
    text += (line.ends_with("=\"\"") ? "#" : "") + line + '\n';
  return text;
}

// The command that was chosen, down to `kvviz models pull`.
const CLI::App& innermost(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : innermost(*chosen.front());
}

std::string unknown_command(const std::string& typed, const CLI::App& among) {
  std::vector<std::string> names;
  std::string list;
  for (const CLI::App* command : among.get_subcommands({})) {
    names.push_back(command->get_name());
    list += (list.empty() ? "" : ", ") + names.back();
  }
  const std::string meant = likely_meant(typed, names);
  return cat("unknown command or argument ", typed, meant.empty() ? "" : "; did you mean " + meant + "?",
             "; commands: ", list);
}

// What to say of an option that `command` does not have; empty: nothing.
std::string advice_on(const std::string& option, const CLI::App& command) {
  const std::string meant = likely_meant(option, option_names(command));
  if (meant == option) return cat("; ", option, " goes after ", command.get_name());
  return meant.empty() ? "" : cat("; did you mean ", meant, "?");
}

// What to say of arguments that nothing takes. CLI11 has them in an order of its own; `given` is the user's.
std::string unexpected(const CLI::App& app, const std::vector<std::string>& given) {
  std::vector<std::string> extras = app.remaining(true), ordered;
  for (const std::string& argument : given) {
    const auto extra = std::ranges::find(extras, argument);
    if (extra == extras.end()) continue;
    ordered.push_back(argument);
    extras.erase(extra);
  }
  const CLI::App& chosen = innermost(app);
  const auto is_option = [](const std::string& argument) { return argument.starts_with("-"); };
  const auto word = std::ranges::find_if_not(ordered, is_option);
  const bool takes_command =
      &chosen == &app || (!chosen.get_subcommands({}).empty() && word == ordered.begin());
  if (takes_command && word != ordered.end()) return unknown_command(*word, chosen);
  std::string text = "got";
  for (const std::string& argument : ordered) text += ' ' + argument;
  text += ", which nothing takes";
  const auto option = std::ranges::find_if(ordered, is_option);
  if (&chosen == &app) return text + "; options go after a command";
  if (option != ordered.end()) text += advice_on(option->substr(0, option->find('=')), chosen);
  return cat(text, "; options: ", command_path(chosen, ' '), " --help");
}

// What to say of what a configuration holds and nothing takes: "analyze.foo", or "analyse.++" of a section.
std::string unknown_key(const std::string& key, const CLI::App& app) {
  const size_t dot = key.find('.');
  if (dot == std::string::npos) {
    const std::string meant = likely_meant("--" + key, option_names(app));
    return cat("unknown key ", key, meant.empty() ? "" : cat("; did you mean ", meant.substr(2), "?"));
  }
  const std::string section = key.substr(0, dot);
  std::vector<std::string> sections;
  for (const CLI::App* command : app.get_subcommands({})) {
    sections.push_back(command->get_name());
    if (sections.back() == section)
      return unknown_key(key.substr(dot + 1), *command) + " (in [" + section + "])";
  }
  const std::string meant = likely_meant(section, sections);
  return cat("unknown section [", section, "]", meant.empty() ? "" : cat("; did you mean [", meant, "]?"));
}

std::string config_error(const std::string& message, const CLI::App& app) {
  constexpr std::string_view nothing_takes = "INI was not able to parse ";
  return message.starts_with(nothing_takes) ? unknown_key(message.substr(nothing_takes.size()), app)
                                            : message;
}

// The configuration's name, where a message is of an option that the command line does not give.
std::string place_of(const std::string& message, const CLI::App& app, std::span<const std::string> typed) {
  const size_t begin = message.find("--");
  if (app.get_config_ptr()->count() == 0 || begin == std::string::npos) return "";
  const std::string option = message.substr(begin, message.find_first_of(" :,=", begin) - begin);
  return std::ranges::count(typed, option) > 0 ? "" : app.get_config_ptr()->as<std::string>() + ": ";
}

// Options that are answered in place of running a command, whatever else the command line lacks.
void add_questions(CLI::App& app, const CallOptions& call) {
  CLI::Option* verbose = app.add_flag_callback(
      "--verbose", [] {}, "with --version: how kvviz was built, and its libraries");
  const auto answer = [&call, verbose] {
    return verbose->count() > 0 ? build_facts(call) : cat("kvviz ", version, " (", commit, ")");
  };
  verbose->configurable(false)->needs(app.set_version_flag("--version", answer));
  const auto print = [](const std::string& text) {
    throw CLI::CallForVersion(text.substr(0, text.find_last_not_of('\n') + 1), 0);
  };
  app.add_flag_callback(
         "--man", [&app, print] { print(manual_page(innermost(app))); },
         "print the manual page of kvviz, or of the command it stands behind")
      ->configurable(false);
  app.add_option_function<std::string>(
         "--completion", [print](const std::string& shell) { print(completion_script(shell)); },
         "print the script that completes commands, options and values in a shell")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->configurable(false);
}

int run(int argc, char** argv) {
  CLI::App app{"See what is in a KV cache, and what shrinking it does to the model.", "kvviz"};
  CallOptions call;
  bool dump = false;
  app.option_defaults()->always_capture_default();
  app.formatter(std::make_shared<HelpFormatter>());
  add_questions(app, call);
  app.set_config("--config", "", "TOML file with options; the command line wins")->check(CLI::ExistingFile);
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--threads", call.threads, "threads (0: all CPUs the process may use)")->check(at_least(0));
  app.add_flag("--quiet", call.quiet, "no progress and no messages on stderr");
  app.add_flag("--dump-config", dump, "print every option with its default as TOML")->configurable(false);
  app.require_subcommand(0, 1);
  app.fallthrough();
  Action action;
  for (const Command& command : commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.help)->group(command.group);
    sub->option_defaults()->always_capture_default();
    sub->footer("Options of every command: kvviz --help");
    sub->final_callback([&action, run = command.declare(*sub)] { action = run; });
  }
  if (argc > 1 && std::string_view(argv[1]) == "--complete") {
    auto words = normalised(argc - 1, argv + 1);
    std::ranges::reverse(words);
    std::cout << complete(app, words);
    return 0;
  }
  try {
    app.parse(normalised(argc, argv));
  } catch (const CLI::CallForHelp&) {
    const std::string first = normalised(argc, argv).back();
    if (&innermost(app) == &app && !first.starts_with("-")) throw UsageError(unknown_command(first, app));
    print_help(app);
    return 0;
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ExtrasError&) {
    const auto last_first = normalised(argc, argv);
    throw UsageError(unexpected(app, {last_first.rbegin(), last_first.rend()}));
  } catch (const CLI::ConfigError& error) {
    throw UsageError(cat(app.get_config_ptr()->as<std::string>(), ": ", config_error(error.what(), app),
                         "; kvviz --dump-config lists the keys"));
  } catch (const CLI::ParseError& error) {
    const std::string place =
        place_of(error.what(), app, typed_options(innermost(app), normalised(argc, argv)));
    throw UsageError(place + error.what());
  }
  if (dump) {
    std::cout << configuration(app);
    return 0;
  }
  if (!action) {
    print_help(app);
    return 0;
  }
  call.command_line = as_typed(argc, argv);
  call.typed = typed_options(innermost(app), normalised(argc, argv));
  call.arguments = given_options(innermost(app), std::array{output_group, batch_group});
  call.data = data_folder();
  return action(call);
}

bool nobody_reads_stdout() {
  pollfd out{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

}  // namespace

int main(int argc, char** argv) {
  watch_signals();
  int code = 3;
  try {
    code = run(argc, argv);
  } catch (const UsageError& error) {
    std::fprintf(stderr, "kvviz: %s\nTry: kvviz --help, kvviz COMMAND --help\n", error.what());
    code = 2;
  } catch (const DataError& error) {
    std::fprintf(stderr, "kvviz: %s\n", error.what());
    code = 1;
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "kvviz: %s: %s\n", error.path1().c_str(), error.code().message().c_str());
    code = 1;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "kvviz: %s\n", no_memory_text().c_str());
    code = 1;
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "kvviz: the system refuses what it was asked for: %s%s\n", error.what(),
                 error.code() == std::errc::resource_unavailable_try_again
                     ? " (a limit on processes or memory: ulimit -u, -v)"
                     : "");
    code = 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kvviz: internal error, please report it: %s\n", error.what());
  }
  std::cout.flush();
  if ((std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout) && code == 0) {
    const int error = errno;
    if (nobody_reads_stdout()) std::_Exit(128 + SIGPIPE);  // kvviz ... | head -1
    std::fprintf(stderr, "kvviz: cannot write to stdout: %s\n", std::strerror(error));
    code = 1;
  }
  std::_Exit(code);  // libtorch's destructors take longer than some commands
}
