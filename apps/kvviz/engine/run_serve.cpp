// SPDX-License-Identifier: MIT
#include <malloc.h>

#include <chrono>
#include <cstdio>
#include <iterator>
#include <thread>

#include "kvviz/core/version.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/serve/live_streams.hpp"
#include "kvviz/engine/serve/page.hpp"
#include "kvviz/engine/serve/state.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

using nlohmann::ordered_json;

void check(const ServeOptions& o) {
  const bool plain =
      o.token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") ==
      std::string::npos;
  require<UsageError>(plain, "--token holds other characters than letters, digits and -._~+/=");
  constexpr size_t shortest = 16;
  require<UsageError>(o.token.empty() || o.token.size() >= shortest, "--token has ", o.token.size(),
                      " characters; give ", shortest, " or more, for example of openssl rand -hex 16");
  const std::string port = o.port == 0 ? "PORT" : std::to_string(o.port);
  require<UsageError>(!serve::reachable_from_elsewhere(o.host) || !o.token.empty(), "--host ", o.host,
                      " lets other machines connect, which needs a --token. To use the page from another "
                      "machine without one: ssh -L ",
                      port, ":127.0.0.1:", port, " to this machine");
}

serve::Route health_route(ServeState& state) {
  const auto started = std::chrono::steady_clock::now();
  return {"GET", "/api/health",
          [&state, started](const serve::Request& request) {
            serve::Fields(request).done();
            const auto uptime = std::chrono::steady_clock::now() - started;
            ordered_json health{{"version", version},
                                {"commit", commit},
                                {"uptime", std::chrono::duration<double>(uptime).count()},
                                {"token_required", !state.options.token.empty()}};
            if (!request.with_token) return serve::Reply{health};
            const auto model = state.model.get();
            health["model"] = model ? ordered_json(model->id) : ordered_json(nullptr);
            health["streams"] = state.streams.count();
            health["running"] = state.runs.running() ? 1 : 0;
            health["waiting"] = state.runs.waiting();
            return serve::Reply{health};
          },
          true};
}

std::vector<serve::Route> all_routes(ServeState& state) {
  std::vector<serve::Route> routes{health_route(state)};
  for (const auto of :
       {model_routes, architecture_routes, attention_routes, stream_routes, simulate_routes, profile_routes})
    std::ranges::move(of(state), std::back_inserter(routes));
  return routes;
}

int run(const ServeOptions& o) {
  check(o);
  // Each of glibc's arenas keeps what was once allocated in it, and every connection has a thread.
  constexpr int arenas = 2;
  mallopt(M_ARENA_MAX, arenas);
  set_threads(o.call.threads);
  LiveStreams streams(o.streams);
  ServeState state{.options = o, .streams = streams};
  constexpr int beside_streams = 128;
  serve::Server server({.host = o.host,
                        .port = o.port,
                        .access = {.host = o.host, .names = o.names, .token = o.token},
                        .connections = o.streams + beside_streams},
                       all_routes(state), page_files());
  const bool v6 = o.host.find(':') != std::string::npos;
  std::printf("kvviz serve: http://%s%s%s:%d/  (Ctrl-C ends it)\n", v6 ? "[" : "", o.host.c_str(),
              v6 ? "]" : "", server.port());
  std::fflush(stdout);
  const std::jthread loading([&] { load_first_model(state); });
  server.run();
  return 0;
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_serve(const kvviz::ServeOptions& options) {
  return kvviz::guarded([&] { return kvviz::run(options); });
}
