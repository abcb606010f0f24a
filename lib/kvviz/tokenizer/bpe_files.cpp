// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/bpe_files.hpp"

#include <nlohmann/json.hpp>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/pipeline_tokenizer.hpp"
#include "kvviz/tokenizer/vocabulary.hpp"
#include "kvviz/tokenizer/word_rules.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

bool qwen2(const TokenizerConfig& config) {
  if (!config.tokenizer_class.empty()) return config.tokenizer_class == "Qwen2Tokenizer";
  return config.model_type.starts_with("qwen2");
}

void set_words(const TokenizerConfig& config, TokenizerParts& parts) {
  const std::string& name = config.tokenizer_class;
  const bool like_qwen2 = qwen2(config);
  require(like_qwen2 || name.empty() || name == "GPT2Tokenizer" || name == "CodeGenTokenizer",
          "[tokenizer] the tokenizer class '", name,
          "' with vocab.json + merges.txt and without tokenizer.json is not supported; supported: ",
          supported_tokenizers);
  const WordRules rules = *word_rules(like_qwen2 ? "qwen2" : "gpt-2");
  parts.normalizer = Normalizer(rules.normalizer);
  json steps = rules.pre_tokenizer;
  if (!like_qwen2) steps["add_prefix_space"] = config.adds_prefix_space.value_or(false);
  parts.pre_tokenizer = PreTokenizer(steps);
}

}  // namespace

std::unique_ptr<Tokenizer> open_vocab_and_merges(const std::filesystem::path& vocab,
                                                 const std::filesystem::path& merges,
                                                 const TokenizerConfig& config) {
  const json vocabulary = read_json(vocab);
  const std::vector<MergeText> pairs =
      naming_file(merges, [&] { return merges_from_text(read_file(merges)); });
  TokenizerParts parts = naming_file(vocab, [&] {
    TokenizerParts filled;
    set_words(config, filled);
    BpeRules rules;
    TextIds ids = fill_bpe(vocabulary_entries(vocabulary), pairs, rules, filled);
    filled.rules = std::move(rules);
    fill_added_tokens(config.added, filled);
    for (const AddedToken& token : config.added) ids.insert_or_assign(token.text, token.id);
    filled.ends = sequence_ends(config, {}, [&](const std::string& name) { return find_id(ids, name); });
    name_ends(ids, filled);
    return filled;
  });
  parts.hash = hash_of({vocab, merges}, config);
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace kvviz
