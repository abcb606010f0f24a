// SPDX-License-Identifier: MIT
#include <malloc.h>
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
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <new>
#include <sstream>
#include <system_error>

#include "kvviz/arguments.hpp"
#include "kvviz/bind.hpp"
#include "kvviz/build_facts.hpp"
#include "kvviz/check.hpp"
#include "kvviz/command.hpp"
#include "kvviz/completion.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/free_memory.hpp"
#include "kvviz/core/interrupt.hpp"
#include "kvviz/core/version.hpp"
#include "kvviz/help.hpp"
#include "kvviz/manual.hpp"
#include "kvviz/mistakes.hpp"
#include "kvviz/paths.hpp"

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

// Keys with '_' are those with '-', as on the command line; names of commands, with '_', go the other way.
class Configuration : public CLI::ConfigTOML {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& in) const override {
    auto all = CLI::ConfigTOML::from_config(in);
    for (CLI::ConfigItem& item : all) {
      std::ranges::replace(item.name, '_', '-');
      for (std::string& command : item.parents) std::ranges::replace(command, '-', '_');
    }
    return all;
  }
};

// The command line for CLI11, last first; `kvviz help COMMAND` is `kvviz COMMAND --help`.
std::vector<std::string> arguments_of(int argc, char** argv) {
  auto arguments = normalised(argc, argv);
  if (arguments.empty() || arguments.back() != "help") return arguments;
  arguments.pop_back();
  arguments.insert(arguments.begin(), "--help");
  return arguments;
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

int run(CLI::App& app, int argc, char** argv) {
  CallOptions call;
  bool dump = false;
  app.option_defaults()->always_capture_default();
  app.formatter(std::make_shared<HelpFormatter>());
  app.config_formatter(std::make_shared<Configuration>());
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
    for (CLI::Option* option : sub->get_options())
      if (option->get_delimiter() == ',') option->transform(trimmed());
  }
  if (argc > 1 && std::string_view(argv[1]) == "--complete") {
    auto words = normalised(argc - 1, argv + 1);
    std::ranges::reverse(words);
    std::cout << complete(app, words);
    return 0;
  }
  const std::vector<std::string> last_first = arguments_of(argc, argv);
  const std::vector<std::string> given(last_first.rbegin(), last_first.rend());
  try {
    app.parse(std::vector<std::string>(last_first));
  } catch (const CLI::CallForHelp&) {
    if (&innermost(app) == &app && !given.front().starts_with("-"))
      throw UsageError(unknown_command(given.front(), app));
    print_help(app, STDOUT_FILENO);
    return 0;
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    throw UsageError(said_of(error, app, given));
  }
  if (dump) {
    std::cout << configuration(app);
    return 0;
  }
  if (!action) {
    print_help(app, STDERR_FILENO);
    return 2;
  }
  call.command_line = as_typed(argc, argv);
  call.typed = typed_options(innermost(app), given);
  call.chosen = chosen_options(innermost(app), call.typed);
  call.arguments = given_options(innermost(app), std::array{output_group, batch_group});
  call.data = data_folder();
  check_output(innermost(app), call);
  return action(call);
}

bool nobody_reads_stdout() {
  pollfd out{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

}  // namespace

int main(int argc, char** argv) {
  watch_signals();
  CLI::App app{"See what is in a KV cache, and what shrinking it does to the model.", "kvviz"};
  int code = 3;
  // To say that memory has run out takes some. (Volatile: the compiler would leave out what nobody reads.)
  void* volatile reserve = std::malloc(size_t{1} << 20);
  try {
    code = run(app, argc, argv);
  } catch (const UsageError& error) {
    std::fprintf(stderr, "kvviz: %s\nTry: %s\n", error.what(), help_for(app).c_str());
    code = 2;
  } catch (const DataError& error) {
    std::fprintf(stderr, "kvviz: %s\n", error.what());
    code = 1;
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "kvviz: %s: %s\n", error.path1().c_str(), error.code().message().c_str());
    code = 1;
  } catch (const std::bad_alloc&) {
    mallopt(M_TOP_PAD, 0);  // engine.cpp lets the heap grow in large steps
    std::free(reserve);
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
