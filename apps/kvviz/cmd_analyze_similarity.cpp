// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/check.hpp"
#include "kvviz/command.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {

Action declare_analyze_similarity(CLI::App& app) {
  auto o = std::make_shared<SimilarityOptions>();
  o->texts.one_text = true;
  bind(app, o->model);
  app.add_option("--cache", o->cache, "analyse this cache file in place of a model and a text")
      ->type_name("FILE")
      ->check(not_empty())
      ->group("Model");
  bind(app, o->texts);
  const char* group = "Similarity";
  app.add_option("--key-basis", o->key_basis,
                 "keys after RoPE or before it (none: after it, or as the cache file has them)")
      ->check(CLI::IsMember({"post_rope", "pre_rope"}))
      ->group(group);
  bind_fields(app, o->similarity, group);
  app.add_option("--layer", o->similarity.layer,
                 "layer of the head whose channels are drawn (none: that with the most correlated keys)")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--head", o->similarity.head,
                 "KV head whose channels are drawn (none: the one with the most correlated keys)")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--map-bins", o->map_bins,
                 "rows and columns of the attention maps that query heads are compared by")
      ->check(between(2, 256))
      ->group(group);
  bind(app, o->output);
  return [o, &app](const CallOptions& call) {
    o->call = call;
    check(*o, app);
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
