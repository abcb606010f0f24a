// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/command.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {

Action declare_compare(CLI::App& app) {
  auto o = std::make_shared<CompareOptions>();
  app.add_option("results", o->results, "two result files (JSON) of the same command")
      ->required()
      ->expected(2)
      ->check(not_empty());
  bind(app, o->output);
  return [o](const CallOptions& call) {
    o->call = call;
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
