// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/command.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {

Action declare_compare(CLI::App& app) {
  auto o = std::make_shared<CompareOptions>();
  app.add_option("results", o->results, "two result files (JSON) of the same command")
      ->type_name("FILE")
      ->required()
      ->expected(2)
      ->check(not_empty());
  app.add_option(
         "--tolerance", o->tolerances,
         "[PATTERN=]BOUND: exit with 4 if b differs from a by more, e.g. 1%, 'compress.*.kl=0.001+5%', "
         "default (repeatable; none: do not)")
      ->allow_extra_args(false)
      ->check(not_empty());
  bind(app, o->output);
  return [o](const CallOptions& call) {
    o->call = call;
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
