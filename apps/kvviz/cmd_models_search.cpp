// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/hub/environment.hpp"
#include "kvviz/models_command.hpp"
#include "kvviz/network.hpp"

namespace kvviz {

Action declare_models_search(CLI::App& app) {
  auto o = std::make_shared<ModelsSearchOptions>();
  auto words = std::make_shared<std::vector<std::string>>();
  app.add_option("words", *words, "words of the model's name")->required()->check(not_empty());
  app.add_option("--limit", o->limit, "models at most")->check(between(1, 1000));
  app.add_option("--sort", o->sort, "downloads of the last 30 days, likes, last change, creation, trend")
      ->check(CLI::IsMember({"downloads", "likes", "updated", "created", "trending"}));
  app.add_option("--filter", o->filter, "a tag the models have, e.g. gguf, conversational; any: all models")
      ->check(not_empty());
  app.add_option("--json", o->json, "-: the list as JSON")->check(CLI::IsMember({"-"}))->group("Output");
  return [o, words](const CallOptions& call) {
    o->call = call;
    for (const std::string& word : *words) o->query += (o->query.empty() ? "" : " ") + word;
    const std::string offline = hub::offline_by(hub::process_environment());
    require(offline.empty(), offline,
            " forbids connections; a search needs one: unset it, or see kvviz models list");
    return run_in_network(*o);
  };
}

}  // namespace kvviz
