// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/tokenizer_json.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/tokenizer/pipeline_tokenizer.hpp"
#include "kvviz/tokenizer/post_processor.hpp"
#include "kvviz/tokenizer/utf8.hpp"
#include "kvviz/tokenizer/vocabulary.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

json member(const json& object, const char* key) {
  return object.contains(key) ? object.at(key) : json();
}

std::string string_member(const json& object, const char* key) {
  const json value = member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

bool flag(const json& object, const char* key) {
  const json value = member(object, key);
  return value.is_boolean() && value.get<bool>();
}

// Old files leave the type out.
std::string model_type(const json& model) {
  if (model.contains("type")) return model.at("type").get<std::string>();
  return model.contains("merges") ? "BPE" : (model.contains("unk_id") ? "Unigram" : "WordPiece or WordLevel");
}

std::vector<MergeText> merge_texts(const json& merges) {
  std::vector<MergeText> pairs;
  pairs.reserve(merges.size());
  for (const json& merge : merges) {
    if (merge.is_string()) {
      pairs.push_back(split_merge(merge.get_ref<const std::string&>()));
    } else if (merge.is_array() && merge.size() == 2) {
      pairs.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      throw DataError(cat("[tokenizer] the merge ", merge.dump(), " is not a pair"));
    }
  }
  return pairs;
}

TextIds read_bpe(const json& model, TokenizerParts& parts) {
  const json dropout = member(model, "dropout");
  require(dropout.is_null() || dropout.get<double>() == 0.0, "[tokenizer] BPE dropout ", dropout.dump(),
          " would make the ids random; it is not supported");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    require(string_member(model, key).empty(), "[tokenizer] BPE with a ", key, " is not supported");
  }
  BpeRules rules;
  const std::string unknown = string_member(model, "unk_token");
  const bool fallback = flag(model, "byte_fallback");
  rules.whole_words = flag(model, "ignore_merges");
  rules.fuse_unknown = flag(model, "fuse_unk");
  if (!parts.pre_tokenizer.byte_level()) {
    require(
        fallback || !unknown.empty(),
        "[tokenizer] BPE with neither a ByteLevel pre-tokeniser nor byte_fallback nor an unk_token is not "
        "supported: it would drop what it does not know");
    rules.alphabet = BpeRules::Alphabet::characters;
  }
  TextIds ids =
      fill_bpe(vocabulary_entries(model.at("vocab")), merge_texts(model.at("merges")), rules, parts);
  if (rules.alphabet == BpeRules::Alphabet::characters && !fallback) rules.byte_tokens = {};
  if (!unknown.empty()) {
    rules.unknown = find_id(ids, unknown);
    require(rules.unknown.has_value(), "[tokenizer] the unk_token '", unknown, "' is not in the vocabulary");
  }
  parts.rules = std::move(rules);
  return ids;
}

TextIds read_unigram(const json& model, TokenizerParts& parts) {
  require(!parts.pre_tokenizer.byte_level(),
          "[tokenizer] a Unigram model after a ByteLevel pre-tokeniser is not supported");
  const json& pieces = model.at("vocab");
  require(pieces.is_array() && !pieces.empty() && pieces.size() <= static_cast<size_t>(most_tokens),
          "[tokenizer] the vocabulary is not a list of pieces with their scores");
  const bool fallback = flag(model, "byte_fallback");
  UnigramRules rules;
  TextIds ids;
  for (const json& piece : pieces) {
    const auto text = piece.at(0).get<std::string>();
    const auto id = static_cast<int32_t>(rules.pieces.size());
    const std::optional<uint8_t> byte = fallback_byte(text);
    if (fallback && byte) rules.byte_tokens[*byte] = id;
    ids[text] = id;
    parts.tokens.push_back(metaspace_token(text));
    rules.pieces.push_back({text, piece.at(1).get<double>()});
  }
  if (const json unknown = member(model, "unk_id"); !unknown.is_null()) {
    const auto id = unknown.get_ref<const int64_t&>();
    require(id >= 0 && static_cast<size_t>(id) < pieces.size(), "[tokenizer] unk_id ", id,
            " is not in the vocabulary of ", pieces.size(), " pieces");
    rules.unknown = static_cast<int32_t>(id);
  }
  parts.rules = std::move(rules);
  return ids;
}

TextIds read_model(const json& model, TokenizerParts& parts) {
  const std::string type = model_type(model);
  if (type == "BPE") return read_bpe(model, parts);
  if (type == "Unigram") return read_unigram(model, parts);
  throw DataError(
      cat("[tokenizer] the tokenizer kind '", type, "' is not supported; supported: ", supported_tokenizers));
}

// Whether decoding drops one space at the start; throws for a step that would change the text otherwise.
bool strips_leading_space(const json& decoder) {
  if (decoder.is_null()) return false;
  const auto type = decoder.at("type").get<std::string>();
  if (type == "Sequence") {
    bool strips = false;
    for (const json& part : decoder.at("decoders")) strips = strips_leading_space(part) || strips;
    return strips;
  }
  if (type == "Strip") {
    const json start = decoder.value("start", json(0));
    require(string_member(decoder, "content") == " " && (start == 0 || start == 1) &&
                decoder.value("stop", json(0)) == 0,
            "[tokenizer] the decoder ", decoder.dump(),
            " is not supported; supported: one space at the start");
    return start == 1;
  }
  if (type == "Metaspace") {
    return decoder.value("prepend_scheme", decoder.value("add_prefix_space", true) ? "always" : "never") !=
           "never";
  }
  if (type == "Replace") {
    const json& pattern = decoder.at("pattern");
    require(string_member(pattern, "String") == metaspace && string_member(decoder, "content") == " ",
            "[tokenizer] the decoder ", decoder.dump(), " is not supported; supported: U+2581 to a space");
    return false;
  }
  require(
      type == "ByteLevel" || type == "ByteFallback" || type == "Fuse", "[tokenizer] the decoder '", type,
      "' is not supported; supported: ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence");
  return false;
}

// As transformers does: tokenizer_config.json may add tokens, and make special what is there.
std::vector<AddedToken> added_tokens(const json& file, const TokenizerConfig& config) {
  std::vector<AddedToken> all;
  for (const json& token : member(file, "added_tokens")) {
    all.push_back(added_token(token_id(token.at("id"), token.at("content").get<std::string>()), token));
  }
  for (const AddedToken& more : config.added) {
    const auto known =
        std::find_if(all.begin(), all.end(), [&](const AddedToken& t) { return t.text == more.text; });
    if (known == all.end()) {
      all.push_back(more);
    } else {
      known->special = known->special || more.special;
    }
  }
  return all;
}

// The classes of transformers that rebuild the post-processor from add_bos_token; their defaults.
std::optional<bool> rebuilt_bos(const std::string& tokenizer_class) {
  constexpr std::array<std::string_view, 4> adding = {"LlamaTokenizer", "CodeLlamaTokenizer",
                                                      "GemmaTokenizer", "CohereTokenizer"};
  if (std::find(adding.begin(), adding.end(), tokenizer_class) != adding.end()) return true;
  return tokenizer_class == "GPTNeoXTokenizer" ? std::optional(false) : std::nullopt;
}

void set_ends(const json& processor, const TokenizerConfig& config, const TextIds& ids,
              TokenizerParts& parts) {
  const auto id_of = [&](const std::string& name) { return find_id(ids, name); };
  const Framing framing = read_framing(processor);
  const std::optional<bool> rebuilt = rebuilt_bos(config.tokenizer_class);
  SequenceEnds defaults{.adds_bos = rebuilt.value_or(framing.before.has_value())};
  if (framing.before) {
    const auto [name, id] = *framing.before;
    require(static_cast<size_t>(id) < parts.tokens.size() &&
                parts.tokens[static_cast<size_t>(id)].kind != Token::Kind::missing,
            "[tokenizer] the post-processor puts '", name, "' first, whose id ", id,
            " is not in the vocabulary");
    defaults.bos = id;
  }
  TokenizerConfig rules = config;
  const bool configured = rebuilt || config.tokenizer_class.empty();
  if (!configured) rules.adds_bos = std::nullopt;
  if (framing.before && !rebuilt && rules.adds_bos != true) rules.bos = framing.before->name;
  parts.ends = sequence_ends(rules, defaults, id_of);
  parts.left_out = framing.after;
  name_ends(ids, parts);
}

json with_prefix_space(json pre_tokenizer, const TokenizerConfig& config) {
  const bool byte_level = pre_tokenizer.is_object() && string_member(pre_tokenizer, "type") == "ByteLevel";
  if (byte_level && config.adds_prefix_space) pre_tokenizer["add_prefix_space"] = *config.adds_prefix_space;
  return pre_tokenizer;
}

TokenizerParts from_json(const json& file, const TokenizerConfig& config) {
  require(file.is_object() && file.contains("model") && file.at("model").is_object(),
          "[tokenizer] an object with a \"model\" is expected");
  TokenizerParts parts;
  parts.normalizer = Normalizer(member(file, "normalizer"));
  parts.pre_tokenizer = PreTokenizer(with_prefix_space(member(file, "pre_tokenizer"), config));
  require(!parts.normalizer.strips_start() || !parts.pre_tokenizer.tells_first(),
          "[tokenizer] a Strip normalizer with a Metaspace whose prepend_scheme is 'first' is not supported");
  parts.strips_leading_space = strips_leading_space(member(file, "decoder"));
  TextIds ids = read_model(file.at("model"), parts);
  const std::vector<AddedToken> added = added_tokens(file, config);
  fill_added_tokens(added, parts);
  for (const AddedToken& token : added) ids.insert_or_assign(token.text, token.id);
  set_ends(member(file, "post_processor"), config, ids, parts);
  return parts;
}

}  // namespace

std::unique_ptr<Tokenizer> parse_tokenizer_json(std::string_view text, const TokenizerConfig& config) {
  try {
    TokenizerParts parts = from_json(parse_json(text), config);
    parts.hash = sha256(text);
    return std::make_unique<PipelineTokenizer>(std::move(parts));
  } catch (const json::exception& error) {
    throw DataError(cat("[tokenizer] tokenizer.json: ", error.what()));
  }
}

std::unique_ptr<Tokenizer> open_tokenizer_json(const std::filesystem::path& file,
                                               const TokenizerConfig& config) {
  const json object = read_json(file);
  TokenizerParts parts = naming_file(file, [&] { return from_json(object, config); });
  parts.hash = hash_of({file}, config);
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace kvviz
