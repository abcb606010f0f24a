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
  app.add_option("--cache", o->cache, "code this cache file: bytes and errors, without a model no loss")
      ->type_name("FILE")
      ->check(not_empty())
      ->group(group);
  app.add_option("--methods,--method", o->methods,
                 "NAME[:ARGUMENTS], POLICY:BUDGET, or both: kivi:4,svd:0.5,'streaming_llm:0.25 + kivi:4'; "
                 "layer by layer: 'kivi:4 | kivi:2 | ...' (none: a sweep of all)")
      ->delimiter(',')
      ->check(not_empty())
      ->group(group);
  app.add_flag("--sweep", o->sweep, "--methods are names alone: try each with several arguments")
      ->group(group);
  app.add_option("--sides", o->sides, "what is coded; the other side is kept in f16")
      ->check(CLI::IsMember({"both", "keys", "values"}))
      ->group(group);
  app.add_option("--key-basis", o->key_basis, "code keys as attention reads them, or before RoPE")
      ->check(CLI::IsMember({"post_rope", "pre_rope"}))
      ->group(group);
  app.add_option("--prefix-tokens", o->prefix_tokens,
                 "tokens whose cache is coded, before those that are predicted (0: half of each text)")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--windows", o->windows,
                 "pieces into which the rest of a text is cut; the cache is coded anew before each")
      ->check(at_least(1))
      ->group(group);
  app.add_flag("--streaming", o->streaming,
               "code every token as it is written, and predict the whole text: codes of single tokens only")
      ->group(group);
  app.add_option("--recommend", o->recommend,
                 "PERCENT: also find a method for each layer, the smallest for at most so much more "
                 "perplexity (none: do not)")
      ->check(above(0))
      ->group(group);
  app.add_option(
         "--kivi-table", o->kivi_table,
         "BITS: also the errors of rounding keys and values by token and by channel, as KIVI's Table 2 "
         "has them (0: do not)")
      ->check(CLI::IsMember({0, 2, 3, 4, 8}))
      ->group(group);
  app.add_flag("--no-timings", o->no_timings, "leave out measured seconds: equal runs then give equal bytes")
      ->group(group);
  app.add_option("--gqa-agg", o->gqa_agg,
                 "policies: how the weights of the query heads of a KV head become one")
      ->check(CLI::IsMember({"mean", "max", "sum"}))
      ->group("Policies");
  bind(app, o->eviction);
  app.remove_option(app.get_option("--per-query-head"));  // a cache holds keys by KV head
  bind(app, o->output);
  return [o, &app](const CallOptions& call) {
    o->call = call;
    check(*o, app);
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
