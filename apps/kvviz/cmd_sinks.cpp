// SPDX-License-Identifier: MIT
#include <limits>

#include "kvviz/bind.hpp"
#include "kvviz/check.hpp"
#include "kvviz/command.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {
namespace {

void bind(CLI::App& app, analysis::SyntheticOptions& o) {
  const char* group = "Synthetic";
  const auto count = [&](const char* name, int64_t& field, const char* meaning) {
    app.add_option(name, field, meaning)->group(group);
  };
  const auto real = [&](const char* name, double& field, const char* meaning) {
    app.add_option(name, field, meaning)->group(group);
  };
  count("--num-layers", o.layers, "layers of the random model");
  count("--num-heads", o.heads, "query heads in a layer");
  count("--num-kv-heads", o.kv_heads, "KV heads of a layer");
  app.add_option("--sequence-lengths", o.lengths, "tokens of the texts")
      ->delimiter(',')
      ->default_str("5,10,15,20,25")  // as it is typed: CLI11 would write it without the commas
      ->group(group);
  real("--base-first", o.base_first, "sink probability of the first layer ...");
  real("--base-last", o.base_last, "... and of the last; linear between them");
  real("--tendency-a", o.tendency_a, "a head's tendency is drawn from Beta(a, b)");
  real("--tendency-b", o.tendency_b, "b of the tendency");
  real("--length-slope", o.slope, "the probability falls by this share a token ...");
  real("--length-floor", o.floor, "... down to this share");
  real("--noise", o.noise, "standard deviation of the noise on the probability");
  real("--p-min", o.p_min, "least probability");
  real("--p-max", o.p_max, "largest probability");
  real("--sink-a", o.sink_a, "score of a sink head: Beta(a, b)");
  real("--sink-b", o.sink_b, "b of a sink head's score");
  real("--other-a", o.other_a, "score of another head: Beta(a, b)");
  real("--other-b", o.other_b, "b of another head's score");
}

void bind(CLI::App& app, ReuseOptions& o) {
  const char* group = "Reuse";
  app.add_flag("--evaluate-reuse", o.evaluate,
               "replace the attention of sink heads by the first layer's pattern, by the first key, by "
               "nothing, and "
               "measure what that does")
      ->group(group);
  app.add_option(
         "--reuse-heads", o.heads,
         "profile: heads that are sinks on the average of the texts; first-layer: head indices that are "
         "sinks in layer 0")
      ->check(CLI::IsMember({"profile", "first-layer"}))
      ->group(group);
  app.add_option("--reuse-layers", o.layers, "first and last layer whose heads are replaced (none: all)")
      ->delimiter(',')
      ->expected(2)
      ->check(at_least(0))
      ->group(group);
  app.add_option("--reuse-up-to", o.up_to, "texts longer than this are left out")
      ->check(at_least(1))
      ->group(group);
  app.add_option("--reuse-repeats", o.repeats, "runs of which the median time is taken")
      ->check(at_least(1))
      ->group(group);
}

}  // namespace

Action declare_sinks(CLI::App& app) {
  auto o = std::make_shared<SinksOptions>();
  bind(app, o->model);
  kvviz::bind(app, o->texts);
  const char* group = "Sinks";
  const CLI::Option* metric =
      app.add_option("--metric", o->metric, "score that decides (--synthetic without it: share0)")
          ->type_name("TEXT:{alpha,share0,share0_later,excess,recent,ratio}")
          ->check(not_empty())
          ->group(group);
  app.add_option(
         "--threshold,--sink-eps", o->threshold,
         "a head is a sink head above this score (none: the metric's own, 0.3 for alpha, 0.9 for share0)")
      ->group(group);
  bind_fields(app, o->sinks, group);
  app.add_option("--lengths", o->lengths,
                 "lengths of the curve of the rate against length (none: powers of two)")
      ->delimiter(',')
      ->check(at_least(1))
      ->group(group);
  app.add_option("--map-bins", o->map_bins, "rows and columns of the example attention maps (0: none)")
      ->check(between(0, 1024))
      ->group(group);
  app.add_flag("--all-maps", o->all_maps, "maps of all heads of the first text")->group(group);
  bind(app, o->reuse);
  app.add_option("--synthetic", o->synthetic,
                 "random numbers in place of a model, always labelled so: llama-3.1-8b")
      ->check(CLI::IsMember({"llama-3.1-8b"}))
      ->group("Synthetic");
  app.add_option("--synthetic-fit", o->synthetic_fit,
                 "random numbers fitted to this result of kvviz sinks (its .h5), always labelled so")
      ->check(CLI::ExistingFile)
      ->group("Synthetic");
  bind(app, o->random);
  kvviz::bind(app, o->output);
  return [o, metric, &app](const CallOptions& call) {
    o->call = call;
    check(*o, app);
    if (!o->synthetic.empty() && metric->count() == 0) o->metric = "share0";
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
