// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/command.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {
namespace {

void bind_geometry(CLI::App& app, ProfileOptions& o) {
  const char* group = "Geometry";
  const auto count = [&](const char* name, int64_t& field, const char* meaning) {
    app.add_option(name, field, meaning)->check(at_least(0))->group(group);
  };
  count("--layers", o.layers, "layers, in place of a model (0: the model's) ...");
  count("--kv-heads", o.kv_heads, "... KV heads of each ...");
  count("--head-dim", o.head_dim, "... channels of a key, and of a value ...");
  count("--window", o.window, "... and the tokens each keeps at most (0: all)");
}

void bind_sizes(CLI::App& app, ProfileOptions& o) {
  const char* group = "Size";
  app.add_option("--dtype", o.dtype, "of the cache")
      ->type_name("TEXT:{f32,f16,bf16,f8,int8,int4,int2}")
      ->check(not_empty())
      ->group(group);
  app.add_option("--group", o.group, "elements of int8, int4 and int2 that share a scale and a zero point")
      ->check(at_least(1))
      ->group(group);
  app.add_option("--batch", o.batch, "sequences of equal length")->check(at_least(1))->group(group);
  app.add_option("--tokens", o.tokens,
                 "length of a sequence (none: that of --access, the model's context, or 4096)")
      ->check(at_least(1))
      ->group(group);
  app.add_option("--lengths", o.lengths, "lengths of the projection")
      ->delimiter(',')
      ->check(at_least(1))
      ->default_str("512,1024,2048,4096,8192,16384,32768,65536,131072")  // CLI11 would leave out the commas
      ->group(group);
  app.add_option("--memory", o.memory, "memories to be filled: 24GiB, 80GB (GB are 10^9 bytes)")
      ->delimiter(',')
      ->default_str("8GiB,16GiB,24GiB,48GiB,80GiB")
      ->group(group);
  app.add_option(
         "--weights", o.weights,
         "also hold the weights there and in the fastest tier: their dtype, or a size (none: not counted)")
      ->check(not_empty())
      ->group(group);
}

void bind_blocks(CLI::App& app, ProfileOptions& o) {
  const char* group = "Blocks";
  app.add_option("--block", o.block, "tokens of a block")->check(at_least(1))->group(group);
  app.add_option("--first-tokens", o.first_tokens,
                 "by age, blocks of these first tokens count as the newest: attention sinks")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--tier", o.tiers,
                 "NAME:CAPACITY:BANDWIDTH of a memory, the fastest first; by data sheets, not measured")
      ->delimiter(',')
      ->default_str("HBM:80GB:3.35TB/s,RAM:256GiB:63GB/s,disk:2TB:7GB/s")
      ->group(group);
  app.add_option("--l2", o.l2, "the accelerator's L2: a cache, no place for blocks (0: not shown)")
      ->check(not_empty())
      ->group(group);
  app.add_option("--access", o.access, "result of kvviz simulate (its .h5): place by measured access too")
      ->type_name("FILE")
      ->check(not_empty())
      ->group(group);
}

void check(const ProfileOptions& o) {
  const bool any = o.layers > 0 || o.kv_heads > 0 || o.head_dim > 0 || o.window > 0;
  const bool all = o.layers > 0 && o.kv_heads > 0 && o.head_dim > 0;
  std::string missing;
  for (const auto& [name, count] :
       {std::pair("--layers", o.layers), {"--kv-heads", o.kv_heads}, {"--head-dim", o.head_dim}})
    if (count == 0) missing += (missing.empty() ? "" : ", ") + std::string(name);
  require<UsageError>(!any || all,
                      "a geometry in place of a model (--layers, --kv-heads, --head-dim, --window) needs ",
                      missing, " too, 1 or more");
  require<UsageError>(!all || o.model.model == ProfileOptions().model.model,
                      "got --model and --layers; give a model or a geometry");
}

}  // namespace

Action declare_profile(CLI::App& app) {
  auto o = std::make_shared<ProfileOptions>();
  bind_model_name(app, o->model);
  bind_geometry(app, *o);
  bind_sizes(app, *o);
  bind_blocks(app, *o);
  bind(app, o->output);
  return [o](const CallOptions& call) {
    check(*o);
    o->call = call;
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
