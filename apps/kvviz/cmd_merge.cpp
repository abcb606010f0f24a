// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/arguments.hpp"
#include "kvviz/batch/record_set.hpp"
#include "kvviz/bind.hpp"
#include "kvviz/command.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

const Command& command_named(const std::string& name, const std::string& source) {
  const auto found = std::ranges::find(commands(), name, &Command::name);
  require(found != commands().end(), source, " is of a command that this kvviz does not have: ", name);
  return *found;
}

/// Runs the command of the records as it was called, with these options of output.
int merge(const std::vector<std::filesystem::path>& paths, const std::vector<std::string>& output,
          CallOptions call) {
  call.records = batch::find_record_files(paths);
  const std::string source = call.records.front().string();
  const batch::Plan plan = batch::read_plan(call.records.front()).plan;
  CLI::App app;
  CLI::App* const command = app.add_subcommand(plan.command);
  command->option_defaults()->always_capture_default();
  const Action action = command_named(plan.command, source).declare(*command);
  std::vector<std::string> arguments{plan.command};
  arguments.insert(arguments.end(), plan.arguments.begin(), plan.arguments.end());
  arguments.insert(arguments.end(), output.begin(), output.end());
  std::ranges::reverse(arguments);  // as CLI11 takes them
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    throw UsageError(cat(error.what(), "; the records are of kvviz ", plan.command));
  }
  call.arguments = plan.arguments;
  return action(call);
}

}  // namespace

Action declare_merge(CLI::App& app) {
  auto paths = std::make_shared<std::vector<std::filesystem::path>>();
  auto output = std::make_shared<OutputOptions>();
  app.add_option("records", *paths, "files *.records of all shards, or folders that hold them")
      ->type_name("FILE")
      ->required()
      ->check(not_empty());
  bind(app, *output);
  return [paths, output, &app](const CallOptions& call) {
    return merge(*paths, given_options_of(app, output_group), call);
  };
}

}  // namespace kvviz
