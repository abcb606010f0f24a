// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/command.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {
Action declare_serve(CLI::App& app) {
  auto o = std::make_shared<ServeOptions>();
  bind(app, o->model);
  const char* group = "Server";
  app.add_option("--port", o->port, "port to listen at (0: one that is free)")
      ->check(between(0, 65535))
      ->group(group);
  app.add_option("--host", o->host, "address to listen at; others than this machine's own need --token")
      ->check(not_empty())
      ->group(group);
  app.add_option("--token", o->token, "that every request has to bring; the page asks for it")
      ->envname("KVVIZ_TOKEN")
      ->check(not_empty())
      ->group(group);
  app.add_option("--name", o->names, "names of this server, beside localhost and its address")
      ->delimiter(',')
      ->check(not_empty())
      ->group(group);
  app.add_option("--streams", o->streams, "live streams at once")->check(between(1, 256))->group(group);
  return [o](const CallOptions& call) {
    o->call = call;
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
