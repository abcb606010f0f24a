// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/App.hpp>
#include <functional>
#include <span>
#include <string>

#include "kvviz/options.hpp"

namespace kvviz {

/// Runs a command after the whole command line has been parsed and found right. Returns the exit code.
using Action = std::function<int(const CallOptions&)>;

/// One row of the command table. `declare` adds options to the subcommand; it opens nothing and loads
/// nothing.
struct Command {
  const char* name;
  const char* group;
  const char* help;
  Action (*declare)(CLI::App& app);
};

/// All commands, in help order.
std::span<const Command> commands();

Action declare_analyze(CLI::App& app);
Action declare_capture(CLI::App& app);
Action declare_sinks(CLI::App& app);
Action declare_simulate(CLI::App& app);
Action declare_compress(CLI::App& app);
Action declare_serve(CLI::App& app);
Action declare_prune(CLI::App& app);
Action declare_tucker(CLI::App& app);
Action declare_profile(CLI::App& app);
Action declare_analyze_generation(CLI::App& app);
Action declare_analyze_similarity(CLI::App& app);
Action declare_compare(CLI::App& app);
Action declare_merge(CLI::App& app);
Action declare_models(CLI::App& app);
Action declare_list_samples(CLI::App& app);

}  // namespace kvviz
