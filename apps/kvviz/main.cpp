// SPDX-License-Identifier: MIT
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <sstream>

#include "kvviz/arguments.hpp"
#include "kvviz/command.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/version.hpp"
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

std::string unexpected(const CLI::App& app, const CLI::ParseError& error) {
  const auto extras = app.remaining(true);
  if (extras.empty() || extras.front().starts_with("-")) return error.what();
  std::string names;
  for (const Command& command : commands()) names += (names.empty() ? "" : ", ") + std::string(command.name);
  return cat("unknown command or argument ", extras.front(), "; commands: ", names);
}

int run(int argc, char** argv) {
  CLI::App app{"See what is in a KV cache, and what shrinking it does to the model.", "kvviz"};
  CallOptions call;
  bool dump = false;
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", cat("kvviz ", version, " (", commit, ")"));
  app.set_config("--config", "", "TOML file with options; the command line wins")->check(CLI::ExistingFile);
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--threads", call.threads, "threads (0: all CPUs the process may use)")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--quiet", call.quiet, "no progress on stderr");
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
  try {
    app.parse(normalised(argc, argv));
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ExtrasError& error) {
    throw UsageError(unexpected(app, error));
  } catch (const CLI::ConfigError& error) {
    throw UsageError(cat(app.get_config_ptr()->as<std::string>(), ": ", error.what(),
                         "; kvviz --dump-config lists the keys"));
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  if (dump) {
    std::cout << configuration(app);
    return 0;
  }
  if (!action) {
    std::cout << app.help();
    return 0;
  }
  call.command_line = as_typed(argc, argv);
  call.data = data_folder();
  return action(call);
}

}  // namespace

int main(int argc, char** argv) {
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
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kvviz: internal error, please report it: %s\n", error.what());
  }
  std::cout.flush();
  if ((std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout) && code == 0) {
    std::fprintf(stderr, "kvviz: cannot write to stdout: %s\n", std::strerror(errno));
    code = 1;
  }
  std::_Exit(code);  // libtorch's destructors take longer than some commands
}
