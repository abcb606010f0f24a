// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/check.hpp"
#include "kvviz/command.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {

Action declare_capture(CLI::App& app) {
  auto o = std::make_shared<CaptureOptions>();
  bind(app, o->model);
  bind(app, o->text);
  app.add_option("--out", o->out, "folder for caches/cache.h5")
      ->type_name("DIR")
      ->check(not_empty())
      ->group("Output");
  app.add_option("--cache-dtype", o->cache_dtype, "dtype the keys and values are rounded to")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->group("Output");
  app.add_flag("--queries", o->queries,
               "store queries and losses too: analyze --cache then has attention and perplexity")
      ->group("Output");
  app.add_option("--gzip", o->gzip, "compression of the file (0: none, 1 fast .. 9 small)")
      ->check(between(0, 9))
      ->group("Output");
  return [o](const CallOptions& call) {
    check(o->text);
    o->call = call;
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
