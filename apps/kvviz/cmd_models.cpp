// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <memory>

#include "kvviz/help.hpp"
#include "kvviz/models_command.hpp"

namespace kvviz {

std::span<const Command> models_commands() {
  static constexpr Command table[] = {
      {"search", "Commands", "models at the hub whose name has some words", declare_models_search},
      {"info", "Commands", "the architecture of a model and what it needs, from its config.json alone",
       declare_models_info},
      {"pull", "Commands", "download what kvviz needs of a model into the Hugging Face cache",
       declare_models_pull},
      {"list", "Commands", "models in the Hugging Face cache", declare_models_list},
      {"rm", "Commands", "remove a model from the Hugging Face cache", declare_models_rm},
  };
  return table;
}

Action declare_models(CLI::App& app) {
  const auto chosen = std::make_shared<Action>();
  app.require_subcommand(0, 1);
  for (const Command& command : models_commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.help)->group(command.group);
    sub->option_defaults()->always_capture_default();
    sub->final_callback([chosen, run = command.declare(*sub)] { *chosen = run; });
  }
  return [chosen, &app](const CallOptions& call) {
    if (*chosen) return (*chosen)(call);
    print_help(app, STDERR_FILENO);
    return 2;
  };
}

}  // namespace kvviz
