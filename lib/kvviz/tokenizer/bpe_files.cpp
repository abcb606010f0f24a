// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/bpe_files.hpp"

#include <nlohmann/json.hpp>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/tokenizer/bpe_vocabulary.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

constexpr std::string_view supported =
    "supported: SentencePiece (tokenizer.model), byte-level BPE and BPE with byte fallback (tokenizer.json), "
    "byte-level BPE of GPT-2 and Qwen2 (vocab.json + merges.txt)";

// The word pattern of transformers' Qwen2Tokenizer.
constexpr std::string_view qwen2_words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

json member(const json& object, const char* key) {
  return object.contains(key) ? object.at(key) : json();
}

std::string string_member(const json& object, const char* key) {
  const json value = member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

void check_model(const json& model) {
  const std::string type = model.contains("type") ? model.at("type").get<std::string>() : "BPE";
  require(type == "BPE" && model.contains("merges"), "[tokenizer] the tokenizer kind '", type,
          "' is not supported; ", supported);
  const json dropout = member(model, "dropout");
  require(dropout.is_null() || dropout.get<double>() == 0.0, "[tokenizer] BPE dropout ", dropout.dump(),
          " would make the ids random; it is not supported");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    require(string_member(model, key).empty(), "[tokenizer] BPE with a ", key, " is not supported; ",
            supported);
  }
}

BpeRules::Alphabet alphabet_of(const json& model, const PreTokenizer& pre_tokenizer) {
  if (pre_tokenizer.byte_level()) return BpeRules::Alphabet::bytes;
  require(model.value("byte_fallback", false),
          "[tokenizer] BPE with neither a ByteLevel pre-tokeniser nor byte_fallback is not supported; ",
          supported);
  return BpeRules::Alphabet::characters;
}

bool strips_leading_space(const json& decoder) {
  if (decoder.is_null()) return false;
  const auto type = decoder.at("type").get<std::string>();
  if (type == "Sequence") {
    bool strips = false;
    for (const json& part : decoder.at("decoders")) strips = strips_leading_space(part) || strips;
    return strips;
  }
  if (type == "Strip") return string_member(decoder, "content") == " " && decoder.value("start", 0) > 0;
  if (type == "Metaspace") {
    return decoder.value("prepend_scheme", decoder.value("add_prefix_space", true) ? "always" : "never") !=
           "never";
  }
  require(type == "ByteLevel" || type == "Replace" || type == "ByteFallback" || type == "Fuse",
          "[tokenizer] the decoder '", type, "' is not supported");
  return false;
}

// The special token that the post-processor puts before the text.
std::optional<std::string> leading_token(const json& processor) {
  if (processor.is_null()) return std::nullopt;
  const std::string type = string_member(processor, "type");
  if (type == "Sequence") {
    for (const json& part : processor.at("processors")) {
      if (auto token = leading_token(part)) return token;
    }
  }
  if (type != "TemplateProcessing" || processor.at("single").empty()) return std::nullopt;
  const json& first = processor.at("single").front();
  return first.contains("SpecialToken") ? std::optional(first.at("SpecialToken").at("id").get<std::string>())
                                        : std::nullopt;
}

std::optional<int32_t> find_id(const json& vocabulary, const std::vector<AddedToken>& added,
                               const std::string& name) {
  for (const AddedToken& token : added) {
    if (token.text == name) return token.id;
  }
  if (!vocabulary.contains(name)) return std::nullopt;
  return vocabulary.at(name).get<int32_t>();
}

void finish(const json& vocabulary, const std::vector<AddedToken>& added, const TokenizerConfig& config,
            const SequenceEnds& defaults, BpeDescription& description) {
  const auto id_of = [&](const std::string& name) { return find_id(vocabulary, added, name); };
  description.ends = sequence_ends(config, defaults, id_of);
  for (std::optional<int32_t>* end : {&description.ends.bos, &description.ends.eos}) {
    if (!*end) *end = id_of("<|endoftext|>");
  }
  for (const std::optional<int32_t> id : {description.ends.bos, description.ends.eos}) {
    if (!id || *id < 0 || static_cast<size_t>(*id) >= description.tokens.size()) continue;
    BpeToken& token = description.tokens[static_cast<size_t>(*id)];
    if (token.kind == BpeToken::Kind::text) token.kind = BpeToken::Kind::special;
  }
}

std::string hash_of(std::vector<std::filesystem::path> files, const TokenizerConfig& config) {
  files.insert(files.end(), config.files.begin(), config.files.end());
  return sha256_files(files);
}

BpeDescription from_json(const json& file, const TokenizerConfig& config) {
  require(file.is_object() && file.contains("model"), "[tokenizer] an object with a \"model\" is expected");
  const json& model = file.at("model");
  check_model(model);
  BpeDescription description;
  description.normalizer = Normalizer(member(file, "normalizer"));
  description.pre_tokenizer = PreTokenizer(member(file, "pre_tokenizer"));
  description.strips_leading_space = strips_leading_space(member(file, "decoder"));
  description.rules.alphabet = alphabet_of(model, description.pre_tokenizer);
  description.rules.whole_words = model.value("ignore_merges", false);
  description.rules.fuse_unknown = model.value("fuse_unk", false);
  const json& vocabulary = model.at("vocab");
  fill_vocabulary(vocabulary, merges_from_json(model.at("merges")), description);

  std::vector<AddedToken> added;
  for (const json& token : member(file, "added_tokens")) {
    added.push_back(added_token(token.at("id").get<int32_t>(), token));
  }
  fill_added_tokens(added, description);
  if (const std::string unknown = string_member(model, "unk_token"); !unknown.empty()) {
    description.rules.unknown = find_id(vocabulary, added, unknown);
  }
  SequenceEnds defaults;
  const std::optional<std::string> leading = leading_token(member(file, "post_processor"));
  if (leading) defaults.bos = find_id(vocabulary, added, *leading);
  defaults.adds_bos = leading.has_value() || config.tokenizer_class == "LlamaTokenizer";
  finish(vocabulary, added, config, defaults, description);
  return description;
}

bool qwen2(const TokenizerConfig& config) {
  if (!config.tokenizer_class.empty()) return config.tokenizer_class == "Qwen2Tokenizer";
  return config.model_type.starts_with("qwen2");
}

void set_word_pattern(const TokenizerConfig& config, BpeDescription& description) {
  if (!qwen2(config)) {
    require(config.tokenizer_class.empty() || config.tokenizer_class == "GPT2Tokenizer",
            "[tokenizer] the tokenizer class '", config.tokenizer_class,
            "' with vocab.json + merges.txt and without tokenizer.json is not supported; ", supported);
    description.pre_tokenizer =
        PreTokenizer(json{{"type", "ByteLevel"}, {"add_prefix_space", config.adds_prefix_space}});
    return;
  }
  const json split = {{"type", "Split"}, {"pattern", {{"Regex", qwen2_words}}}, {"behavior", "Isolated"}};
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  description.normalizer = Normalizer(json{{"type", "NFC"}});
  description.pre_tokenizer = PreTokenizer(json{{"type", "Sequence"}, {"pretokenizers", {split, bytes}}});
}

template <class Work>
auto naming(const std::filesystem::path& file, const Work& work) {
  try {
    return work();
  } catch (const std::exception& error) {
    throw DataError(cat(error.what(), " (", file.string(), ')'));
  }
}

}  // namespace

std::unique_ptr<Tokenizer> open_tokenizer_json(const std::filesystem::path& file,
                                               const TokenizerConfig& config) {
  const json object = read_json(file);
  BpeDescription description = naming(file, [&] { return from_json(object, config); });
  description.hash = hash_of({file}, config);
  return std::make_unique<BpeTokenizer>(std::move(description));
}

std::unique_ptr<Tokenizer> open_vocab_and_merges(const std::filesystem::path& vocab,
                                                 const std::filesystem::path& merges,
                                                 const TokenizerConfig& config) {
  const json vocabulary = read_json(vocab);
  const std::vector<MergeText> pairs = naming(merges, [&] { return merges_from_text(read_file(merges)); });
  BpeDescription description = naming(vocab, [&] {
    BpeDescription parts;
    set_word_pattern(config, parts);
    fill_vocabulary(vocabulary, pairs, parts);
    fill_added_tokens(config.added, parts);
    finish(vocabulary, config.added, config, {}, parts);
    return parts;
  });
  description.hash = hash_of({vocab, merges}, config);
  return std::make_unique<BpeTokenizer>(std::move(description));
}

}  // namespace kvviz
