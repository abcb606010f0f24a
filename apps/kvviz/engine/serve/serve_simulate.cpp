// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/engine/serve/guard.hpp"
#include "kvviz/engine/serve/state.hpp"
#include "kvviz/engine/simulate_study.hpp"
#include "kvviz/engine/simulate_text.hpp"
#include "kvviz/serve/http_error.hpp"

namespace kvviz {
namespace {

using nlohmann::ordered_json;
using serve::Fields;
using serve::number_or_null;
using serve::Reply;
using serve::Request;

constexpr int64_t longest = 4096;

/// What a policy is good for, in a few words; the measured loss beside it has the last one.
struct Advice {
  std::string_view policy, text;
};
constexpr Advice advice[] = {
    {"full", "the reference: nothing is lost, memory grows with every token"},
    {"window", "showing why sinks matter: without the first tokens many models fall apart"},
    {"streaming_llm", "endless chat: constant memory, recent text, stable output"},
    {"h2o", "texts with few important tokens, when attention weights can be kept"},
    {"lru", "a general cache's rule, to compare with"},
    {"tova", "a simple rule by the newest token's attention"},
    {"snapkv", "long prompts with the question at the end"},
    {"pyramidkv", "long prompts, deep models: more room in the lower layers"},
    {"adakv", "heads that need different budgets"},
    {"knorm", "kernels that give no attention weights: keys alone decide"},
    {"keydiff", "kernels that give no attention weights, and varied text"},
    {"lagkv", "kernels that give no attention weights, long text"},
    {"expected_attention", "a known query distribution; no attention weights needed"},
    {"random", "a floor that every policy has to beat"},
    {"oracle", "the ceiling: it reads the future"}};

Reply list_policies(const Request& request) {
  Fields(request).done();
  auto list = ordered_json::array();
  for (const policy::PolicyInfo& info : policy::policies()) {
    const auto* found = std::ranges::find(advice, info.name, &Advice::policy);
    const bool known = found != std::end(advice);
    list.push_back({{"name", info.name},
                    {"summary", info.summary},
                    {"citation", info.citation},
                    {"best_for", known ? ordered_json(found->text) : ordered_json(nullptr)},
                    {"clairvoyant", info.clairvoyant}});
  }
  return {ordered_json{{"policies", std::move(list)}}};
}

struct Asked {
  std::shared_ptr<const ServedModel> model;
  SimulateOptions options;
  TextInput text;
};

std::optional<int64_t> count_of(Fields& fields, const char* name) {
  if (!fields.has(name)) return std::nullopt;
  return fields.integer(name, 0, longest, 0);
}

Asked read(ServeState& state, const Request& request) {
  Fields fields(request);
  Asked asked{.model = state.model.loaded()};
  SimulateOptions& o = asked.options;
  const std::string text = fields.text("text", longest_text);
  constexpr size_t most_policies = 16, most_digits = 20;
  o.policies = fields.texts("policies", most_policies, {"full", "lru", "window", "streaming_llm", "h2o"});
  o.budgets = {fields.text("budget", most_digits, "0.25")};
  o.eviction.sinks = count_of(fields, "sinks");
  o.eviction.recent = count_of(fields, "recent");
  const int64_t tokens = fields.integer("tokens", 4, longest, 0);
  fields.done();
  if (std::ranges::count(o.policies, "all") > 0)
    throw serve::bad_request("policies names all; GET /api/policies lists them one by one");
  asked.text = request_text(*asked.model, text, longest, tokens);
  const auto length = std::ssize(asked.text.tokens.ids);
  constexpr int64_t least = 4;
  if (length < least)
    throw serve::bad_request("the text has ", length, " tokens; a simulation needs at least ", least);
  const SimulatePlan plan = plan_simulations(o, asked.model->runner.model.decoder.config());
  check_length(plan, length);
  return asked;
}

ordered_json outcome_json(const analysis::PolicyOutcome& o, const ordered_json& timeline) {
  return {{"policy", o.policy},
          {"summary", o.summary},
          {"budget_tokens", number_or_null(o.budget_tokens)},
          {"clairvoyant", o.clairvoyant},
          {"ppl", number_or_null(o.ppl)},
          {"delta_ppl", number_or_null(o.delta_ppl)},
          {"delta_ppl_se", number_or_null(o.delta_ppl_se)},
          {"delta_nll", number_or_null(o.delta_nll)},
          {"kl", number_or_null(o.kl)},
          {"top1_agreement", number_or_null(o.top1_agreement)},
          {"recall", number_or_null(o.recall)},
          {"bound", number_or_null(o.bound)},
          {"output_error", number_or_null(o.output_error)},
          {"demand_hit_rate", number_or_null(o.demand_hit_rate)},
          {"sink_recall", number_or_null(o.sink_recall)},
          {"heavy_recall", number_or_null(o.heavy_recall)},
          {"processed", o.processed},
          {"hits", o.hits},
          {"misses", o.demands - o.hits},
          {"evictions", number_or_null(o.evictions)},
          {"retained_sinks", o.retained_sinks},
          {"retained_heavy", o.retained_heavy},
          {"cached", number_or_null(o.final_entries)},
          {"resident_bytes", number_or_null(o.resident_bytes)},
          {"timeline", timeline}};
}

ordered_json timeline_of(const FirstText& first, const std::string& policy, int64_t tokens) {
  const auto at = std::ranges::find(first.retention, policy, &analysis::RetentionMap::policy);
  std::vector<int32_t> last(static_cast<size_t>(tokens), static_cast<int32_t>(tokens - 1));
  if (at != first.retention.end()) std::ranges::copy(at->last_step, last.begin());
  return serve::base64(std::as_bytes(std::span(last)));
}

ordered_json result_of(const Asked& asked, const SimulationRecord& record) {
  const ModelConfig& config = asked.model->runner.model.decoder.config();
  auto policies = ordered_json::array();
  ordered_json full;
  for (const OutcomeRecord& one : record.outcomes) {
    OutcomeSum sum(config);
    sum.add(record, one);
    const analysis::PolicyOutcome outcome = sum.outcome();
    full = {{"ppl", number_or_null(outcome.ppl - outcome.delta_ppl)},
            {"nll", number_or_null(outcome.nll - outcome.delta_nll)},
            {"bytes", number_or_null(outcome.full_bytes)}};
    policies.push_back(outcome_json(outcome, timeline_of(*record.first, one.policy, record.tokens)));
  }
  ordered_json result = {{"tokens", record.first->tokens},  {"budget", asked.options.budgets.front()},
                         {"score_from", record.score_from}, {"full", std::move(full)},
                         {"policies", std::move(policies)}, {"timeline", nullptr}};
  if (record.first->retention.empty()) return result;
  const analysis::RetentionMap& map = record.first->retention.front();
  result["timeline"] = {
      {"layer", map.layer}, {"kv_head", map.kv_head}, {"sinks", map.sinks}, {"heavy", map.heavy}};
  return result;
}

SimulationRecord simulated(Runs::Place& place, const Asked& asked, serve::Client& client) {
  const auto turn = place.wait(client);
  const Decoder& decoder = asked.model->runner.model.decoder;
  SimulatePlan plan = plan_simulations(asked.options, decoder.config());
  plan.settings.on_layer = [&](int64_t done, int64_t total) {
    client.keep();
    client.progress("simulating, layer by layer", done, total);
  };
  return computed([&] { return simulate_text(decoder, asked.text, plan, true); });
}

Reply simulate_policies(ServeState& state, const Request& request) {
  const Asked asked = read(state, request);
  return {serve::Events([asked, place = state.runs.queue()](serve::EventStream& events) {
    // Its turn is over before the result goes out: a client may be slow to read it.
    const SimulationRecord record = simulated(*place, asked, events);
    events.send("result", result_of(asked, record));
  })};
}

}  // namespace

std::vector<serve::Route> simulate_routes(ServeState& state) {
  return {{"GET", "/api/policies", list_policies},
          {"POST", "/api/simulate", [&](const Request& r) { return simulate_policies(state, r); }}};
}

}  // namespace kvviz
