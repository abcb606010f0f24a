// SPDX-License-Identifier: MIT
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fuzz_target.hpp"
#include "kvviz/command.hpp"

// A --config file: every command declares its options, as the program does, and CLI11 reads the file for one.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  const test::TemporaryFolder folder;
  const std::filesystem::path file = test::as_file(folder, test::as_text(data, size), "options.toml");
  CLI::App app{"", "kvviz"};
  CallOptions call;
  app.option_defaults()->always_capture_default();
  app.set_config("--config");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--threads", call.threads);
  app.add_flag("--quiet", call.quiet);
  app.require_subcommand(0, 1);
  app.fallthrough();
  std::vector<Action> actions;
  for (const Command& command : commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.help);
    sub->option_defaults()->always_capture_default();
    actions.push_back(command.declare(*sub));
  }
  return test::survives<UsageError>([&] {
    try {
      app.parse({"sinks", file.string(), "--config"});
    } catch (const CLI::ParseError& error) {  // as main() does
      throw UsageError(error.what());
    }
  });
}
