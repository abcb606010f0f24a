// SPDX-License-Identifier: MIT
#include "kvviz/batch/plan.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/core/json_number.hpp"
#include "kvviz/core/sha256.hpp"

namespace kvviz::batch {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Shard, index, count)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PlannedText, name, tokens, sha256, failure, bos)

namespace {

// get<int64_t>() of nlohmann-json takes a 1e40 too, and is undefined for it.
bool holds_real(const nlohmann::json& value) {
  return value.is_number_float() || (value.is_structured() && std::ranges::any_of(value, holds_real));
}

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

std::string text_difference(const StoredPlan& a, const StoredPlan& b) {
  const auto &mine = a.plan.texts, &theirs = b.plan.texts;
  if (mine.size() != theirs.size()) return cat(mine.size(), " texts, and ", theirs.size());
  if (a.texts_sha256 == b.texts_sha256) return "";
  for (size_t i = 0; i < mine.size(); ++i) {
    const bool both = !mine[i].name.empty() && !theirs[i].name.empty();
    if (both && !(mine[i] == theirs[i]))
      return cat("text ", i, " was ", mine[i].name, ", ", mine[i].tokens, " tokens, and is ",
                 mine[i].name == theirs[i].name ? "another one of that name" : theirs[i].name, ", ",
                 theirs[i].tokens, " tokens");
  }
  return "other texts";
}

}  // namespace

std::string hash_of_texts(const std::vector<PlannedText>& texts) {
  std::string bytes;
  nlohmann::json::to_cbor(nlohmann::json(texts), bytes);
  return sha256(bytes);
}

nlohmann::json to_json(const Plan& plan) {
  require(std::ssize(plan.texts) <= most_texts, "got ", plan.texts.size(), " texts; a run takes at most ",
          most_texts, ". Choose some with --samples, or make several runs");
  nlohmann::json own = nlohmann::json::array();
  for (int64_t i = 0; i < std::ssize(plan.texts); ++i)
    if (plan.shard.owns(i)) own.push_back(plan.texts[static_cast<size_t>(i)]);
  return {{"command", plan.command},
          {"arguments", plan.arguments},
          {"command_line", plan.command_line},
          {"version", plan.version},
          {"commit", plan.commit},
          {"model", plan.model},
          {"texts", own},
          {"text_count", plan.texts.size()},
          {"texts_sha256", hash_of_texts(plan.texts)},
          {"shard", plan.shard}};
}

StoredPlan plan_from_json(const nlohmann::json& json, const std::string& source) {
  try {
    for (const char* counts : {"shard", "texts"})
      require(!holds_real(json.at(counts)), source, ": damaged: the ", counts,
              " of the plan hold a number that is not whole");
    StoredPlan stored;
    Plan& plan = stored.plan;
    json.at("texts_sha256").get_to(stored.texts_sha256);
    json.at("command").get_to(plan.command);
    json.at("arguments").get_to(plan.arguments);
    json.at("command_line").get_to(plan.command_line);
    json.at("version").get_to(plan.version);
    json.at("commit").get_to(plan.commit);
    json.at("shard").get_to(plan.shard);
    plan.model = json.at("model");
    const auto own = json.at("texts").get<std::vector<PlannedText>>();
    const int64_t count = whole_number(json.at("text_count")).value_or(-1);
    const Shard shard = plan.shard;
    require(shard.count >= 1 && shard.index >= 0 && shard.index < shard.count && shard.count <= count &&
                count <= most_texts &&
                std::ssize(own) == (count - shard.index + shard.count - 1) / shard.count,
            source, ": damaged: shard ", shard.index, " of ", shard.count, " with ", own.size(), " of ",
            count, " texts");
    plan.texts.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < std::ssize(own); ++i)
      plan.texts[static_cast<size_t>(shard.index + i * shard.count)] = own[static_cast<size_t>(i)];
    return stored;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(cat(source, ": damaged: ", error.what()));
  }
}

std::string difference(const StoredPlan& stored_a, const StoredPlan& stored_b) {
  const Plan &a = stored_a.plan, &b = stored_b.plan;
  if (a.command != b.command) return cat("kvviz ", a.command, ", and kvviz ", b.command);
  if (a.version != b.version || a.commit != b.commit)
    return cat("kvviz ", a.version, " (", a.commit, "), and kvviz ", b.version, " (", b.commit, ")");
  if (a.arguments != b.arguments)
    return cat("the options ", list_of(extra(a.arguments, b.arguments)), ", and ",
               list_of(extra(b.arguments, a.arguments)));
  if (a.model != b.model) return "models of different configuration or tokenizer";
  return text_difference(stored_a, stored_b);
}

}  // namespace kvviz::batch
