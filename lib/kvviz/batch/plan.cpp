// SPDX-License-Identifier: MIT
#include "kvviz/batch/plan.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"

namespace kvviz::batch {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Shard, index, count)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PlannedText, name, tokens, sha256, failure, bos)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Plan, command, arguments, command_line, version, commit, model, texts,
                                   shard)

namespace {

std::string list_of(const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words) list += (list.empty() ? "" : " ") + word;
  return list.empty() ? "no option" : list;
}

/// Arguments of one that the other lacks.
std::vector<std::string> extra(const std::vector<std::string>& of, const std::vector<std::string>& other) {
  std::vector<std::string> found;
  for (const std::string& argument : of)
    if (std::ranges::count(of, argument) > std::ranges::count(other, argument)) found.push_back(argument);
  return found;
}

std::string text_difference(const Plan& a, const Plan& b) {
  if (a.texts.size() != b.texts.size()) return cat(a.texts.size(), " texts, and ", b.texts.size());
  for (size_t i = 0; i < a.texts.size(); ++i)
    if (!(a.texts[i] == b.texts[i]))
      return cat("text ", i, " was ", a.texts[i].name, ", ", a.texts[i].tokens, " tokens, and is ",
                 a.texts[i].name == b.texts[i].name ? "another one of that name" : b.texts[i].name, ", ",
                 b.texts[i].tokens, " tokens");
  return "";
}

}  // namespace

nlohmann::json to_json(const Plan& plan) {
  return plan;
}

Plan plan_from_json(const nlohmann::json& json, const std::string& source) {
  try {
    auto plan = json.get<Plan>();
    require(plan.shard.count >= 1 && plan.shard.index >= 0 && plan.shard.index < plan.shard.count, source,
            ": damaged: shard ", plan.shard.index, " of ", plan.shard.count);
    return plan;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(cat(source, ": damaged: ", error.what()));
  }
}

std::string difference(const Plan& a, const Plan& b) {
  if (a.command != b.command) return cat("kvviz ", a.command, ", and kvviz ", b.command);
  if (a.version != b.version || a.commit != b.commit)
    return cat("kvviz ", a.version, " (", a.commit, "), and kvviz ", b.version, " (", b.commit, ")");
  if (a.arguments != b.arguments)
    return cat("the options ", list_of(extra(a.arguments, b.arguments)), ", and ",
               list_of(extra(b.arguments, a.arguments)));
  if (a.model != b.model) return "models of different configuration or tokenizer";
  return text_difference(a, b);
}

}  // namespace kvviz::batch
