// SPDX-License-Identifier: MIT
#include "kvviz/engine/compress_recommend.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"

namespace kvviz {
namespace {

using analysis::CacheOutcome;

/// Trials of what the bisection and the layers' table need, all on the same texts.
struct Judge {
  const Runner& runner;
  std::span<const TextInput> texts;
  const CompressOptions& options;
  std::string doing;

  std::vector<CacheOutcome> operator()(std::span<const CachePlan> plans) const {
    const Decoder& decoder = runner.model.decoder;
    TrialOptions o = trial_options(options);
    o.doing = doing;
    o.quiet = options.call.quiet || texts.size() > 1;
    Progress progress(doing, std::ssize(texts), options.call.quiet || texts.size() == 1);
    TrialOutcomes outcomes(names_of(plans));
    for (size_t i = 0; i < texts.size(); ++i) {
      outcomes.add(trial_sums(decoder, texts[i], trials_of(decoder, plans, options), o));
      progress.update(static_cast<int64_t>(i) + 1);
    }
    o.quiet = true;  // few predictions have been told of
    return outcomes.outcomes(o);
  }
};

CachePlan by_layer(std::span<const std::string> methods) {
  std::string text;
  for (const std::string& method : methods) text += (text.empty() ? "" : " | ") + method;
  return parse_plan(text);
}

/// Plans of the frontier that a single layer can take.
std::vector<std::string> candidates(const analysis::CompressionStudy& study,
                                    std::span<const CachePlan> plans) {
  std::vector<std::string> names;
  for (const CachePlan& plan : plans) {
    const auto outcome = std::ranges::find(study.outcomes, plan.text, &CacheOutcome::method);
    if (plan.layers.size() == 1 && !plan.layers[0].codec.codec->across_layers() && outcome->on_frontier)
      names.push_back(plan.text);
  }
  return names;
}

/// Every candidate in every layer alone, the other layers exact.
std::vector<CacheOutcome> alone(const Judge& judge, std::span<const std::string> names, size_t layers) {
  std::vector<CachePlan> plans;
  for (size_t l = 0; l < layers; ++l) {
    for (const std::string& name : names) {
      std::vector<std::string> methods(layers, "f32");
      methods[l] = name;
      plans.push_back(layers == 1 ? parse_plan(name) : by_layer(methods));
    }
  }
  return judge(plans);
}

std::vector<std::string> chosen(std::span<const std::string> names, std::span<const size_t> choice) {
  std::vector<std::string> methods;
  for (const size_t method : choice) methods.push_back(names[method]);
  return methods;
}

}  // namespace

std::optional<analysis::Recommendation> recommend(const Runner& runner, std::span<const TextInput> texts,
                                                  const analysis::CompressionStudy& study,
                                                  std::span<const CachePlan> plans,
                                                  const CompressOptions& o) {
  const auto layers = static_cast<size_t>(study.layers);
  const std::vector<std::string> names = candidates(study, plans);
  if (names.empty()) return std::nullopt;
  Judge judge{runner, texts, o, "each layer alone"};
  const std::vector<CacheOutcome> single = alone(judge, names, layers);
  std::vector<analysis::LayerOptions> options(layers);
  for (size_t l = 0; l < layers; ++l) {
    for (size_t m = 0; m < names.size(); ++m) {
      const CacheOutcome& outcome = single[l * names.size() + m];
      options[l].bytes.push_back(outcome.layers[l].bytes);
      options[l].losses.push_back(outcome.delta_nll);
    }
  }
  const auto choices = analysis::layer_choices(options);
  judge.doing = "all layers together";
  analysis::Recommendation best{.limit_percent = *o.recommend};
  std::optional<size_t> found;
  for (size_t low = 0, high = choices.size(); low < high;) {
    const size_t middle = low + (high - low) / 2;
    const std::vector<CachePlan> plan{by_layer(chosen(names, choices[middle]))};
    CacheOutcome outcome = judge(plan).front();
    if (outcome.change_percent() <= *o.recommend) {
      best.outcome = std::move(outcome);
      found = middle;
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (!found) return std::nullopt;
  for (size_t l = 0; l < layers; ++l) {
    const size_t method = choices[*found][l];
    best.layers.push_back({.layer = static_cast<int>(l),
                           .method = names[method],
                           .bytes_per_token = options[l].bytes[method] / best.outcome.tokens,
                           .delta_nll = options[l].losses[method]});
  }
  if (const CacheOutcome* const uniform = smallest_within(study, *o.recommend)) {
    best.uniform = uniform->method;
    best.uniform_bytes = uniform->bytes_per_token();
  }
  return best;
}

nlohmann::ordered_json recommendation_json(const analysis::Recommendation& r, const SubjectOrigin& origin) {
  nlohmann::ordered_json json{{"model", origin.model},
                              {"model_sha256", origin.model_sha256},
                              {"texts", origin.text},
                              {"limit_percent", r.limit_percent},
                              {"method", r.outcome.method},
                              {"bytes_per_token", r.outcome.bytes_per_token()},
                              {"ratio_to_f16", r.outcome.ratio()},
                              {"delta_ppl_percent", r.outcome.delta_ppl_percent()},
                              {"delta_ppl_percent_se", r.outcome.delta_ppl_percent_se()}};
  for (const analysis::RecommendedLayer& layer : r.layers)
    json["layers"].push_back({{"layer", layer.layer},
                              {"method", layer.method},
                              {"bytes_per_token", layer.bytes_per_token},
                              {"delta_nll_alone", layer.delta_nll}});
  return json;
}

}  // namespace kvviz
