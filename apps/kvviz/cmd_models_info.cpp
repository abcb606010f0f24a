// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/engine.hpp"
#include "kvviz/models_command.hpp"

namespace kvviz {

Action declare_models_info(CLI::App& app) {
  auto o = std::make_shared<ModelsInfoOptions>();
  app.add_option("model", o->model, "model folder, .gguf file, a hub id in the local cache, or demo")
      ->type_name("MODEL")
      ->check(not_empty())
      ->group("Model");
  const char* group = "Size";
  app.add_option("--tokens", o->tokens, "length of the text that sizes are given for")
      ->check(at_least(1))
      ->group(group);
  app.add_option("--dtype", o->dtype, "of weights and cache")
      ->type_name("TEXT:{f32,f16,bf16,f8,int8,int4,int2}")
      ->check(not_empty())
      ->group(group);
  app.add_option("--lengths", o->lengths, "lengths of the projection")
      ->delimiter(',')
      ->check(at_least(1))
      ->default_str("2048,8192,32768,131072")
      ->group(group);
  app.add_option("--memory", o->memory, "memories to be filled: 24GiB, 80GB (GB are 10^9 bytes)")
      ->delimiter(',')
      ->default_str("8GiB,16GiB,24GiB,48GiB,80GiB")
      ->group(group);
  app.add_option("--json", o->json, "-: the card as JSON")->check(CLI::IsMember({"-"}))->group("Output");
  return [o](const CallOptions& call) {
    o->call = call;
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
