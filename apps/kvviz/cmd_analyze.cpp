// SPDX-License-Identifier: MIT
#include <map>

#include "kvviz/bind.hpp"
#include "kvviz/check.hpp"
#include "kvviz/command.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {

Action declare_analyze(CLI::App& app) {
  auto o = std::make_shared<AnalyzeOptions>();
  o->texts.one_text = true;
  bind(app, o->model);
  app.add_option("--cache", o->cache, "analyse this cache file in place of a model and a text")
      ->type_name("FILE")
      ->check(not_empty())
      ->group("Model");
  bind(app, o->texts);
  app.add_option("--focus,--analysis-focus", o->focus, "parts to compute")
      ->type_name("TEXT:{all,layers,heads,tokens,embeddings,attention,distribution}")
      ->delimiter(',')
      ->group("Analysis");
  app.add_option("--generate", o->generate, "tokens to decode for the generation stages (0: none)")
      ->check(at_least(0))
      ->group("Analysis");
  app.add_option("--map-bins", o->map_bins, "rows and columns of the pooled attention maps (0: none)")
      ->check(between(0, 1024))
      ->group("Analysis");
  app.add_option("--gqa-agg", o->gqa_agg, "how the query heads of a KV head are put together")
      ->check(CLI::IsMember({"mean", "max", "sum"}))
      ->group("Analysis");
  bind_fields(app, o->layers, "Analysis");
  bind_fields(app, o->heads, "Analysis");
  bind_fields(app, o->channels, "Analysis");
  bind_fields(app, o->distribution, "Analysis");
  bind_fields(app, o->attention, "Analysis");
  bind_fields(app, o->legacy, "Analysis");
  bind(app, o->output);
  return [o, &app](const CallOptions& call) {
    o->call = call;
    check(*o, app);
    o->needs_queries = asks_for_attention(*o, app);
    const std::map<std::string, analysis::GqaAggregate> aggregates = {{"mean", analysis::GqaAggregate::mean},
                                                                      {"max", analysis::GqaAggregate::max},
                                                                      {"sum", analysis::GqaAggregate::sum}};
    o->attention.gqa = aggregates.at(o->gqa_agg);
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
