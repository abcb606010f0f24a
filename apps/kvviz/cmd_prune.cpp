// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"
#include "kvviz/check.hpp"
#include "kvviz/command.hpp"
#include "kvviz/engine.hpp"

namespace kvviz {
namespace {

void bind_removal(CLI::App& app, PruneOptions& o) {
  const char* group =
      "Removed from the cache of the prefix, before the rest of the text is read behind what is left";
  const auto list = [&](const char* names, std::vector<std::string>& indices, const char* meaning) {
    app.add_option(names, indices, meaning)->delimiter(',')->check(not_empty())->group(group);
  };
  list("--layers,--prune-layers", o.layers,
       "layers, e.g. 2,5: nothing of their cache is kept, their attention gives 0; with other options, "
       "where those act (none: in every layer)");
  list("--heads,--prune-heads", o.heads,
       "KV heads: nothing is kept, the output of their query heads is 0; with --tokens, --channels or "
       "--threshold, where those act");
  list("--query-heads", o.query_heads,
       "query heads whose output is 0; saves memory only where a whole KV head is left without any");
  list("--tokens", o.tokens, "positions, e.g. 0-3,10: they get exactly no attention from then on");
  list("--channels", o.channels,
       "channels: a key's adds nothing to q.k, a value's is 0 in the output, of later tokens too");
  app.add_option("--sides", o.sides, "whose channels and small elements")
      ->check(CLI::IsMember({"both", "keys", "values"}))
      ->group(group);
  app.add_option("--threshold", o.threshold,
                 "elements below this percentage of the model's largest key (value) become 0")
      ->group(group);
  app.add_option("--prune-method", o.prune_method,
                 "legacy: what is removed, if only that is; threshold: 1 % where --threshold does not say")
      ->check(CLI::IsMember({"layer", "head", "dimension", "threshold"}))
      ->group(group);
}

void bind_measurement(CLI::App& app, PruneOptions& o) {
  const char* group = "Measurement";
  app.add_option("--sweep", o.sweep,
                 "remove each layer, each KV head of each layer, or each block of channels, one at a time "
                 "(with --layers: of those)")
      ->check(CLI::IsMember({"layers", "heads", "channels"}))
      ->group(group);
  app.add_option("--channel-block", o.channel_block,
                 "channels of a block of --sweep channels (0: a sixteenth of the head)")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--prefix-tokens", o.prefix_tokens,
                 "tokens whose cache is pruned, before those that are predicted (0: half of each text)")
      ->check(at_least(0))
      ->group(group);
  app.add_option(
         "--windows", o.windows,
         "windows that the rest of each text is cut into; each goes on after a cache of all before it")
      ->check(at_least(1))
      ->group(group);
  app.add_option("--continuation", o.continuation,
                 "the text to predict, in place of the rest of each text; the whole text is then the prefix")
      ->check(not_empty())
      ->group(group);
  app.add_option("--decode-steps", o.decode_steps,
                 "single tokens that are timed with the full cache and with the smaller one")
      ->check(at_least(1))
      ->group(group);
  app.add_flag("--no-timings", o.no_timings, "leave out measured seconds: equal runs then give equal bytes")
      ->group(group);
}

}  // namespace

Action declare_prune(CLI::App& app) {
  auto o = std::make_shared<PruneOptions>();
  bind(app, o->model);
  bind(app, o->texts);
  // Positions are --tokens here.
  app.remove_option(app.get_option("--tokens"));
  app.add_option(
         "--token-ids", o->texts.text.tokens,
         "a file of token ids, white space or commas between them: the text (--tokens of other commands)")
      ->type_name("FILE")
      ->check(not_empty())
      ->group("Text");
  bind_removal(app, *o);
  bind_measurement(app, *o);
  bind(app, o->output);
  return [o](const CallOptions& call) {
    check(*o);
    o->call = call;
    return run_in_engine(*o);
  };
}

}  // namespace kvviz
