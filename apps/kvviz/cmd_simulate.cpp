// SPDX-License-Identifier: MIT
#include <limits>

#include "kvviz/bind.hpp"
#include "kvviz/check.hpp"
#include "kvviz/command.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {
namespace {

void bind(CLI::App& app, NeedleOptions& o) {
  const char* group = "Needle";
  app.add_option("--needle", o.needle, "a sentence to hide in the first text")
      ->check(not_empty())
      ->group(group);
  app.add_option("--needle-place", o.place,
                 "hide: put the needle into the text; found: it is a part of the text")
      ->check(CLI::IsMember({"hide", "found"}))
      ->group(group);
  app.add_option("--question", o.question, "what is asked at the end of the text")
      ->check(not_empty())
      ->group(group);
  app.add_option("--answer", o.answer, "what the model should say (none: the needle's last word)")
      ->check(not_empty())
      ->group(group);
  app.add_option("--depths", o.depths,
                 "where the needle is hidden: 0 at the beginning, 1 before the question")
      ->delimiter(',')
      ->check(between(0.0, 1.0))
      ->default_str("0,0.25,0.5,0.75,1")
      ->group(group);
  app.add_option("--lengths", o.lengths,
                 "tokens of the text with needle and question (none: half and all of it)")
      ->delimiter(',')
      ->check(at_least(1))
      ->group(group);
}

}  // namespace

Action declare_simulate(CLI::App& app) {
  auto o = std::make_shared<SimulateOptions>();
  bind(app, o->model);
  kvviz::bind(app, o->texts);
  const char* group = "Simulation";
  app.add_option("--policies,--policy", o->policies, "names, or all; also adakv:<policy>")
      ->type_name(policy_names)
      ->delimiter(',')
      ->check(not_empty())
      ->group(group);
  const CLI::Option* budgets =
      app.add_option("--budget,--budgets", o->budgets,
                     "keys that a KV head may hold: a number of tokens (256), or a kept fraction of the text "
                     "(0.25; 1 is one token, 1.0 all); oneshot: 256 if none is given")
          ->delimiter(',')
          ->transform(budget())
          ->default_str("0.1,0.25,0.5")
          ->group(group);
  app.add_option("--budget-table", o->budget_table,
                 "budgets of every layer and KV head, a TSV of layer, kv_head, budget")
      ->type_name("FILE")
      ->check(not_empty())
      ->group(group);
  app.add_option("--mode", o->mode,
                 "decode: evict step by step; oneshot: the keep masks of sinkvis, no model effect")
      ->check(CLI::IsMember({"decode", "oneshot"}))
      ->group(group);
  app.add_option("--positions", o->positions,
                 "positions of held keys: those of the text, or their ranks in the cache (rotary models)")
      ->check(CLI::IsMember({"original", "cache"}))
      ->group(group);
  app.add_option("--prefill", o->prefill,
                 "stepwise: evict from the first token on; full: attend to the whole prompt, then cut once")
      ->check(CLI::IsMember({"stepwise", "full"}))
      ->group(group);
  app.add_option("--prompt-tokens", o->prompt_tokens, "tokens of a full prefill (0: half of each text)")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--gqa-agg", o->gqa_agg, "how the weights of the query heads of a KV head become one")
      ->check(CLI::IsMember({"mean", "max", "sum"}))
      ->group(group);
  app.add_option("--score-from", o->score_from,
                 "first prediction that counts (none: where every budget has begun to evict)")
      ->check(at_least(0))
      ->group(group);
  app.add_flag("--no-recall", o->no_recall,
               "leave out recall, hit rates and output errors: up to a third faster")
      ->group(group);
  app.add_option("--target", o->target,
                 "find each policy's smallest budget for a loss: delta_ppl<1%, delta_nll<0.01, kl<0.02, "
                 "top1_agreement>0.95")
      ->check(not_empty())
      ->group(group);
  app.add_option("--generate", o->generate,
                 "let every policy continue the first text by so many tokens, greedily (0: none)")
      ->check(at_least(0))
      ->group(group);
  app.add_flag("--eviction-log", o->eviction_log, "write who was evicted when to results/simulate.h5")
      ->group(group);
  app.add_flag("--no-timings", o->no_timings, "leave out measured seconds: equal runs then give equal bytes")
      ->group(group);
  kvviz::bind(app, o->eviction);
  bind(app, o->needle);
  kvviz::bind(app, o->output);
  return [o, budgets, &app](const CallOptions& call) {
    o->call = call;
    check(*o, app);
    if (o->mode == "oneshot" && budgets->count() == 0) o->budgets = {"256"};
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
