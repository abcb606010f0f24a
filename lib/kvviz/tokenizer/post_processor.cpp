// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/post_processor.hpp"

#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

// "special_tokens" of a template: what a name stands for.
Framing::Mark mark_of(const std::string& name, const json& tokens) {
  require(tokens.contains(name), "[tokenizer] the post-processor's template names '", name,
          "', which its special_tokens do not have");
  const json& ids = tokens.at(name).at("ids");
  require(ids.is_array() && ids.size() == 1, "[tokenizer] the post-processor puts ", ids.dump(), " for '",
          name, "'; one id is supported");
  return {name, token_id(ids.front(), name)};
}

Framing from_template(const json& processor) {
  Framing framing;
  bool text = false;
  for (const json& piece : processor.at("single")) {
    if (piece.contains("Sequence")) {
      require(!text, "[tokenizer] the post-processor's template has the text twice");
      text = true;
      continue;
    }
    const Framing::Mark mark =
        mark_of(piece.at("SpecialToken").at("id").get<std::string>(), processor.at("special_tokens"));
    if (text) {
      framing.after.push_back(mark.name);
      continue;
    }
    require(!framing.before, "[tokenizer] the post-processor puts '",
            framing.before ? framing.before->name : "", "' and '", mark.name,
            "' before the text; one token there (BOS) is supported");
    framing.before = mark;
  }
  require(text, "[tokenizer] the post-processor's template is without the text");
  return framing;
}

Framing from_pair(const json& processor) {
  const json& before = processor.at("cls");
  const auto name = before.at(0).get<std::string>();
  return {Framing::Mark{name, token_id(before.at(1), name)}, {processor.at("sep").at(0).get<std::string>()}};
}

Framing from_sequence(const json& processors) {
  Framing all;
  for (const json& part : processors) {
    Framing framing = read_framing(part);
    if (!framing.before && framing.after.empty()) continue;
    require(!all.before && all.after.empty(),
            "[tokenizer] two steps of the post-processor add special tokens; one is supported");
    all = std::move(framing);
  }
  return all;
}

}  // namespace

Framing read_framing(const json& processor) {
  if (processor.is_null()) return {};
  const auto type = processor.at("type").get<std::string>();
  if (type == "ByteLevel") return {};
  if (type == "Sequence") return from_sequence(processor.at("processors"));
  if (type == "TemplateProcessing") return from_template(processor);
  if (type == "RobertaProcessing" || type == "BertProcessing") return from_pair(processor);
  throw DataError(cat("[tokenizer] the post-processor '", type,
                      "' is not supported; supported: ByteLevel, TemplateProcessing, RobertaProcessing, "
                      "BertProcessing, Sequence"));
}

}  // namespace kvviz
