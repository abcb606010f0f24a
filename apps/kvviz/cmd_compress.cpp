// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/check.hpp"
#include "kvviz/command.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {

Action declare_compress(CLI::App& app) {
  auto o = std::make_shared<CompressOptions>();
  bind(app, o->model);
  bind(app, o->texts);
  const char* group = "Compression";
  app.add_option(
         "--methods,--method", o->methods,
         "NAME[:ARGUMENTS], as docs/compress.md lists them, e.g. kivi:4,q8_0,svd:0.5 (none: a sweep of "
         "all)")
      ->delimiter(',')
      ->check(not_empty())
      ->group(group);
  app.add_flag("--sweep", o->sweep, "--methods are names alone: try each with several arguments")
      ->group(group);
  app.add_option("--sides", o->sides, "what is coded; the other side is kept in f16")
      ->check(CLI::IsMember({"both", "keys", "values"}))
      ->group(group);
  app.add_option("--prefix-tokens", o->prefix_tokens,
                 "tokens whose cache is coded, before those that are predicted (0: half of each text)")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  app.add_flag("--no-timings", o->no_timings, "leave out measured seconds: equal runs then give equal bytes")
      ->group(group);
  bind(app, o->output);
  return [o](const CallOptions& call) {
    check(o->texts);
    o->call = call;
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
