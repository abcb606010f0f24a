// SPDX-License-Identifier: MIT
#include "kvviz/engine/sink_output.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz {
namespace {

using tables::integer;
using tables::real;

const char* const one_text = "one text has no spread";

const char* const no_score = "no text has this score";

void add_spread(std::vector<Fact>& facts, const std::string& key, const std::string& label,
                const analysis::Spread& spread) {
  facts.push_back({key, real(spread.mean, no_score), "", label});
  facts.push_back({key + "_se", real(spread.standard_error(), spread.count == 0 ? no_score : one_text), "",
                   "  its standard error over texts"});
}

void add_across_layers(std::vector<Fact>& facts, const analysis::AcrossLayers& across) {
  const auto why = [&](const char* own) { return across.reason.empty() ? own : across.reason.c_str(); };
  const char* few = why("fewer than 2 head indices are sinks in the first layer");
  facts.push_back(
      {"first_layer_sinks", integer(across.first_sinks), "", "Sink heads of the first layer, all texts"});
  facts.push_back({"p_later", real(across.p_later, why(no_score)), "",
                   "P(sink later | sink at that head index in the first layer)"});
  facts.push_back({"p_later_low", real(across.low, few), "", "  its 95 % interval, from"});
  facts.push_back({"p_later_high", real(across.high, few), "", "  to"});
  facts.push_back({"p_later_base", real(across.base, why(no_score)), "", "P(sink later), the base rate"});
  facts.push_back({"lift", real(across.lift, why("no sink in a later layer")), "",
                   "Lift (1: the first layer foretells nothing)"});
  facts.push_back({"phi", real(across.phi, why("the first layer's heads, or all later ones, are alike")), "",
                   "Phi coefficient of the two flags"});
  facts.push_back(
      {"phi_adjacent",
       real(across.phi_adjacent, "no two neighbouring layers both have heads that are sinks and others"), "",
       "Phi of neighbouring layers, mean"});
}

}  // namespace

SinkFindings find_sinks(const analysis::SinkStudy& study, const analysis::SinkRule& rule,
                        const analysis::SinkOptions& options) {
  SinkFindings findings{.summary = analysis::summarise(study, rule, options),
                        .all = analysis::across_layers(study, rule)};
  for (size_t i = 0; i < study.prompts.size(); ++i)
    findings.by_text.push_back(analysis::across_layers(study, rule, static_cast<int64_t>(i)));
  return findings;
}

std::vector<Fact> sink_facts(const SinkRun& run, const SinkFindings& findings,
                             const analysis::SinkOptions& options) {
  const analysis::SinkSummary& s = findings.summary;
  const auto& info = analysis::info_of(s.rule.metric);
  const auto [fewest, most] = std::ranges::minmax(run.tokens);
  std::vector<Fact> facts;
  if (run.synthetic) facts.push_back({"source", std::string("synthetic (random numbers)"), "", "Source"});
  const Fact common[] = {
      {"texts", integer(static_cast<int64_t>(run.tokens.size())), "",
       run.synthetic ? "Synthetic texts" : "Texts"},
      {"tokens_min", integer(fewest), "tokens", "Shortest text"},
      {"tokens_max", integer(most), "tokens", "Longest text"},
      {"layers", integer(run.study.layers()), "", "Layers"},
      {"heads", integer(static_cast<int64_t>(run.study.heads.size())), "", "Query heads of all layers"},
      {"metric", std::string(info.name), "", "Score that decides"},
      {"threshold", real(s.rule.threshold), "",
       cat("Threshold (a sink head is ", info.inclusive ? ">=" : ">", ")")}};
  facts.insert(facts.end(), std::begin(common), std::end(common));
  if (s.rule.metric == analysis::SinkMetric::alpha) {
    facts.push_back({"tokens_per_sequence", integer(options.tokens), "tokens", "T of alpha"});
    facts.push_back({"sink_token", integer(options.k), "", "k of alpha"});
  }
  add_spread(facts, "sink_rate",
             cat("Rate of sink heads: ", info.label, info.inclusive ? " >= " : " > ", "threshold"), s.rate);
  facts.push_back({"sink_rate_of_mean", real(s.rate_of_mean, no_score), "",
                   "Heads whose mean score over the texts is above it"});
  add_spread(facts, "group_rate", "KV heads all of whose query heads are sinks (these free memory)",
             s.group_rate);
  add_spread(facts, "score", cat("Mean over heads of ", info.label), s.score);
  facts.push_back({"always", real(s.always, no_score), "", "Heads that are sinks in every text"});
  facts.push_back({"never", real(s.never, no_score), "", "Heads that are sinks in no text"});
  facts.push_back({"correlation",
                   real(s.correlation, run.tokens.size() < 2 ? one_text : "the heads' scores are all alike"),
                   "", "Stability: correlation of the heads' scores between texts"});
  add_across_layers(facts, findings.all);
  return facts;
}

}  // namespace kvviz
