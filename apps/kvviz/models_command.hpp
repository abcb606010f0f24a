// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/command.hpp"

namespace kvviz {

/// The commands of `kvviz models`, in help order.
std::span<const Command> models_commands();

Action declare_models_search(CLI::App& app);
Action declare_models_info(CLI::App& app);
Action declare_models_pull(CLI::App& app);
Action declare_models_list(CLI::App& app);
Action declare_models_rm(CLI::App& app);

}  // namespace kvviz
