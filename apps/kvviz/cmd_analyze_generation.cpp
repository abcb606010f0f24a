// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/check.hpp"
#include "kvviz/command.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {
namespace {

void bind_generation(CLI::App& app, GenerationOptions& o) {
  const char* group = "Generation";
  app.add_option("--generate", o.generate, "most tokens that are generated")
      ->check(at_least(1))
      ->group(group);
  app.add_option("--stages", o.stages.fractions,
                 "fractions of the generated tokens after which the cache is looked at, rising, up to 1")
      ->delimiter(',')
      ->check(not_empty())
      ->default_str("0.2,0.5,1")
      ->group(group);
  app.add_option("--temperature", o.temperature,
                 "logits are divided by it before a token is drawn (0: always the most likely token)")
      ->group(group);
  app.add_option("--top-k", o.top_k, "draw from the k most likely tokens (0: from all)")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--top-p", o.top_p,
                 "draw from the fewest of these tokens that hold this share of probability")
      ->group(group);
  app.add_flag("--ignore-eos", o.ignore_eos, "go on after an end-of-text token")->group(group);
  app.add_flag("--no-timings", o.no_timings, "leave out measured seconds: equal runs then give equal bytes")
      ->group(group);
  bind_fields(app, o.legacy, group);
}

void bind_eviction(CLI::App& app, GenerationOptions& o) {
  const char* group = "Policies";
  app.add_option(
         "--policy,--policies", o.policies,
         "generate under these policies too, names as in simulate, or all (none: the full cache only)")
      ->type_name(policy_names)
      ->delimiter(',')
      ->check(not_empty())
      ->group(group);
  app.add_option("--budget,--budgets", o.budgets,
                 "keys that a KV head may hold: a number of tokens (256), or a kept fraction of prompt and "
                 "generated tokens (none: 0.25)")
      ->delimiter(',')
      ->transform(budget())
      ->group(group);
  app.add_option("--positions", o.positions,
                 "positions of held keys: those of the text, or their ranks in the cache (rotary models)")
      ->check(CLI::IsMember({"original", "cache"}))
      ->group(group);
  app.add_option("--prefill", o.prefill,
                 "stepwise: evict from the first token on; full: attend to the whole prompt, then cut once")
      ->check(CLI::IsMember({"stepwise", "full"}))
      ->group(group);
  bind(app, o.eviction);
}

}  // namespace

Action declare_analyze_generation(CLI::App& app) {
  auto o = std::make_shared<GenerationOptions>();
  o->texts.one_text = true;
  bind(app, o->model);
  bind(app, o->texts);
  bind_generation(app, *o);
  bind_eviction(app, *o);
  bind(app, o->output);
  return [o](const CallOptions& call) {
    check(*o);
    o->call = call;
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
