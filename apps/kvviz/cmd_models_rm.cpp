// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "kvviz/bind.hpp"
#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/hub/cache.hpp"
#include "kvviz/hub/environment.hpp"
#include "kvviz/models_command.hpp"

namespace kvviz {
namespace {

std::string size(int64_t bytes) {
  return size_text(static_cast<double>(bytes));
}

bool confirmed(const std::filesystem::path& cache, const std::string& id) {
  const auto models = hub::cached_models(cache);
  const auto model = std::ranges::find(models, id, &hub::CachedModel::id);
  if (model == models.end()) return true;  // remove_model() says what is wrong
  require<UsageError>(isatty(STDIN_FILENO) == 1, "rm asks before it removes ", id,
                      ", and there is no terminal to ask; give --yes");
  std::fprintf(stderr, "Remove %s with %zu revision%s, %s, from %s? [y/N] ", id.c_str(),
               model->revisions.size(), model->revisions.size() == 1 ? "" : "s", size(model->bytes).c_str(),
               cache.c_str());
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

int remove(const ModelsRmOptions& o) {
  const hub::ModelName name = hub::parse_model_name(o.id);
  require<UsageError>(name.id == o.id, "got ", o.id,
                      "; rm removes a model with all its revisions and files: kvviz models rm ", name.id);
  const auto cache = hub::cache_folder(hub::process_environment());
  if (!o.yes && !confirmed(cache, name.id)) {
    std::fprintf(stderr, "Nothing was removed.\n");
    return 1;
  }
  const hub::RemovedModel removed = hub::remove_model(cache, name.id);
  if (o.json == "-")
    std::printf("%s\n",
                nlohmann::ordered_json{
                    {"model", name.id}, {"folder", removed.folder.string()}, {"bytes", removed.bytes}}
                    .dump(1)
                    .c_str());
  else
    std::printf("removed %s, %s are free again\n", name.id.c_str(), size(removed.bytes).c_str());
  return 0;
}

}  // namespace

Action declare_models_rm(CLI::App& app) {
  auto o = std::make_shared<ModelsRmOptions>();
  app.add_option("id", o->id, "name or owner/name, as kvviz models list shows it")
      ->required()
      ->type_name("ID")
      ->check(not_empty());
  app.add_flag("--yes", o->yes, "do not ask");
  app.add_option("--json", o->json, "-: what was removed as JSON")
      ->check(CLI::IsMember({"-"}))
      ->group("Output");
  return [o](const CallOptions&) { return remove(*o); };
}

}  // namespace kvviz
