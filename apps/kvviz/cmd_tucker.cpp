// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/check.hpp"
#include "kvviz/command.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {

Action declare_tucker(CLI::App& app) {
  auto o = std::make_shared<TuckerOptions>();
  bind(app, o->model);
  bind(app, o->texts);
  app.add_option("--cache", o->cache, "decompose this cache file in place of a model and texts; no losses")
      ->type_name("FILE")
      ->check(not_empty())
      ->group("Model");
  const char* group = "Decomposition";
  app.add_option("--head-rank", o->head_rank,
                 "rank of the heads (none: all of them; without any rank: all heads, a quarter of the token "
                 "directions, half of the channels)")
      ->group(group);
  app.add_option("--token-rank", o->token_rank, "rank of the tokens (none: as above)")->group(group);
  app.add_option("--channel-rank,--embedding-rank", o->channel_rank, "rank of the channels (none: as above)")
      ->group(group);
  app.add_option("--method", o->method, "hooi: sweeps after the initial factors; hosvd: these alone")
      ->check(CLI::IsMember({"hooi", "hosvd"}))
      ->group(group);
  app.add_option("--key-basis", o->key_basis,
                 "keys before or after RoPE (none: after; of a cache file, as it holds them)")
      ->check(CLI::IsMember({"pre_rope", "post_rope"}))
      ->group(group);
  app.add_option("--sides", o->sides, "what is decomposed; the other side is kept in f16")
      ->check(CLI::IsMember({"both", "keys", "values"}))
      ->group(group);
  app.add_option("--layer", o->layer, "whose core and factors are drawn and written")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--prefix-tokens", o->prefix_tokens,
                 "tokens whose cache is decomposed, before those that are predicted (0: half of each text)")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--windows", o->windows,
                 "cut the rest of each text into so many pieces, each behind a cache of all before it")
      ->check(at_least(1))
      ->group(group);
  app.add_flag("--no-sensitivity", o->no_sensitivity, "leave out the loss of each layer alone")->group(group);
  app.add_flag("--sweep", o->sweep,
               "eight ranks from an eighth of each mode to all of it, keys before and after RoPE, beside "
               "the SVD of each head in the same bytes")
      ->group(group);
  bind(app, o->output);
  return [o, &app](const CallOptions& call) {
    o->call = call;
    check(*o, app);
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
