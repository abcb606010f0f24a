// SPDX-License-Identifier: MIT
#include <cstdio>
#include <nlohmann/json.hpp>

#include "kvviz/bind.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/hub/cache.hpp"
#include "kvviz/hub/environment.hpp"
#include "kvviz/models_command.hpp"
#include "kvviz/network.hpp"

namespace kvviz {
namespace {

// Without a connection: where the model is, or that it is not there.
int look_up(const ModelsPullOptions& o, const std::string& reason) {
  const auto cache = hub::cache_folder(hub::process_environment());
  std::filesystem::path path;
  try {
    path = hub::cached_model_path(cache, o.name);
  } catch (const DataError& error) {
    throw DataError(cat(error.what(), ", with a connection (", reason, " forbids one)"));
  }
  if (o.json == "-")
    std::printf(
        "%s\n",
        nlohmann::ordered_json{
            {"model", o.name.id}, {"revision", o.name.revision}, {"path", path.string()}, {"offline", reason}}
            .dump(1)
            .c_str());
  else
    std::printf("%s is in %s; whether it is the newest was not asked (%s)\n", o.name.id.c_str(), path.c_str(),
                reason.c_str());
  return 0;
}

int pull(ModelsPullOptions& o, const std::string& id, const std::string& revision, const std::string& gguf) {
  o.name = hub::parse_model_name(id);
  require<UsageError>(revision.empty() || id.find('@') == std::string::npos, "got ", id, " and --revision ",
                      revision, "; give the revision once");
  require<UsageError>(gguf.empty() || o.name.gguf.empty(), "got ", id, " and --gguf ", gguf,
                      "; give the file once");
  if (!revision.empty()) {
    hub::check_revision(revision);
    o.name.revision = revision;
  }
  if (!gguf.empty()) o.name.gguf = gguf;
  require<UsageError>(!o.no_weights || o.name.gguf.empty(),
                      "a GGUF file holds its weights; --no-weights does not go "
                      "with it");
  const std::string variable = hub::offline_by(hub::process_environment());
  const std::string reason = o.offline ? "--offline" : variable;
  return reason.empty() ? run_in_network(o) : look_up(o, reason);
}

}  // namespace

Action declare_models_pull(CLI::App& app) {
  struct Given {
    std::string id, revision, gguf;
  };
  auto o = std::make_shared<ModelsPullOptions>();
  auto given = std::make_shared<Given>();
  app.add_option("id", given->id,
                 "name or owner/name at the hub, as in Qwen/Qwen2.5-0.5B; also ID@REVISION, ID:GGUF")
      ->required()
      ->type_name("ID")
      ->check(not_empty());
  app.add_option("--revision", given->revision, "branch, tag or commit (none: main)")->check(not_empty());
  app.add_option("--gguf", given->gguf,
                 "one GGUF model in place of everything else: its file, or e.g. Q4_K_M")
      ->check(not_empty());
  app.add_flag("--no-weights", o->no_weights, "config.json and the tokenizer only, as kvviz profile needs");
  app.add_option("--connections", o->connections, "files that are downloaded at once")->check(between(1, 32));
  app.add_flag("--verify", o->verify, "hash the files that are there too, and replace damaged ones");
  app.add_flag("--dry-run", o->dry_run, "only list what would be downloaded");
  app.add_flag("--offline", o->offline, "no connection: only say where the model is (as HF_HUB_OFFLINE=1)");
  app.add_option("--json", o->json, "-: the files as JSON")->check(CLI::IsMember({"-"}))->group("Output");
  return [o, given](const CallOptions& call) {
    o->call = call;
    return pull(*o, given->id, given->revision, given->gguf);
  };
}

}  // namespace kvviz
