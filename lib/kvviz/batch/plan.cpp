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
  if (a.text_count != b.text_count) return cat(a.text_count, " texts, and ", b.text_count);
  if (a.texts_sha256 == b.texts_sha256) return "";
  const Shard& shard = a.plan.shard;
  if (!(shard == b.plan.shard)) return "other texts";
  for (size_t i = 0; i < mine.size(); ++i)
    if (!(mine[i] == theirs[i]))
      return cat("text ", shard.index + static_cast<int64_t>(i) * shard.count, " was ", mine[i].name, ", ",
                 mine[i].tokens, " tokens, and is ",
                 mine[i].name == theirs[i].name ? "another one of that name" : theirs[i].name, ", ",
                 theirs[i].tokens, " tokens");
  return "other texts";
}

std::vector<PlannedText> own_texts(const std::vector<PlannedText>& all, const Shard& shard) {
  std::vector<PlannedText> own;
  for (int64_t i = shard.index; i < std::ssize(all); i += shard.count)
    own.push_back(all[static_cast<size_t>(i)]);
  return own;
}

std::string hash_of_texts(const std::vector<PlannedText>& texts) {
  std::string bytes;
  nlohmann::json::to_cbor(nlohmann::json(texts), bytes);
  return sha256(bytes);
}

}  // namespace

nlohmann::json to_json(const Plan& plan) {
  return {{"command", plan.command},
          {"arguments", plan.arguments},
          {"command_line", plan.command_line},
          {"version", plan.version},
          {"commit", plan.commit},
          {"model", plan.model},
          {"texts", own_texts(plan.texts, plan.shard)},
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
    json.at("texts").get_to(plan.texts);
    const int64_t count = whole_number(json.at("text_count")).value_or(-1);
    const Shard shard = plan.shard;
    require(shard.count >= 1 && shard.index >= 0 && shard.index < shard.count && shard.count <= count &&
                std::ssize(plan.texts) == (count - shard.index - 1) / shard.count + 1,
            source, ": damaged: shard ", shard.index, " of ", shard.count, " with ", plan.texts.size(),
            " of ", count, " texts");
    stored.text_count = count;
    return stored;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(cat(source, ": damaged: ", error.what()));
  }
}

StoredPlan stored(Plan plan) {
  StoredPlan stored{
      .plan = {}, .text_count = std::ssize(plan.texts), .texts_sha256 = hash_of_texts(plan.texts)};
  if (plan.shard.count > 1) plan.texts = own_texts(plan.texts, plan.shard);
  stored.plan = std::move(plan);
  return stored;
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

bool only_failed_texts_differ(const StoredPlan& before, const StoredPlan& now) {
  if (before.plan.shard.count > 1 || now.plan.shard.count > 1 || before.text_count != now.text_count)
    return false;
  Plan same = now.plan;
  for (size_t i = 0; i < same.texts.size(); ++i)
    if (!before.plan.texts[i].failure.empty()) same.texts[i] = before.plan.texts[i];
  return difference(before, stored(std::move(same))).empty();
}

}  // namespace kvviz::batch
