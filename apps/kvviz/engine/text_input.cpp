// SPDX-License-Identifier: MIT
#include "kvviz/engine/text_input.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/core/file_identity.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/engine/byte_order_mark.hpp"
#include "kvviz/text/wikitext.hpp"

namespace kvviz {
namespace {

constexpr int64_t article_tokens = 512;  // of an article when --seq-len does not say

std::vector<int32_t> parse_ids(const std::filesystem::path& file) {
  const std::string text = read_input(file);
  const auto is_space = [](char c) { return c != '\0' && std::strchr(" \t\r\n,", c) != nullptr; };
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (;;) {
    at = std::find_if_not(at, end, is_space);
    if (at == end) return ids;
    int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    require(error == std::errc() && id >= 0, file.string(), ": got \"",
            std::string(at, std::find_if(at, end - at < 12 ? end : at + 12, is_space)), "\" at byte ",
            at - text.data(), "; expected token ids from 0 on, white space or commas between them");
    ids.push_back(id);
    at = next;
  }
}

// Joins articles from `index` on until `wanted` tokens are there. Each is tokenised on its own, so an id does
// not depend on how many follow.
TextIds read_articles(const text::TextCollection& articles, const TextOptions& o, const Tokenizer& tokenizer,
                      int64_t wanted) {
  const auto count = static_cast<int64_t>(articles.articles().size());
  require(o.wikitext_index < count, "there is no article ", o.wikitext_index, "; there are ", count,
          ", from 0 on (kvviz list_samples shows them)");
  TextIds source{.ids = {}, .description = "", .article = true};
  int64_t next = o.wikitext_index;
  while (static_cast<int64_t>(source.ids.size()) < wanted && next < count) {
    const auto ids = tokenizer.encode(articles.text(next++));
    source.ids.insert(source.ids.end(), ids.begin(), ids.end());
    if (o.seq_len == 0) break;
  }
  const auto available = static_cast<int64_t>(source.ids.size());
  require(o.seq_len == 0 || available >= wanted, "--seq-len ", o.seq_len,
          " asks for more than there is: article ", o.wikitext_index, " and those after it have ", available,
          " tokens");
  source.description = cat(o.wikitext_dir.empty() ? "sample text " : "WikiText article ", o.wikitext_index,
                           ", ", articles.articles()[static_cast<size_t>(o.wikitext_index)].title);
  source.more_articles = next - o.wikitext_index - 1;
  if (source.more_articles > 0) source.description += cat(", and the next ", source.more_articles);
  return source;
}

TextIds read_source(const TextOptions& o, const Tokenizer& tokenizer, int64_t wanted,
                    const std::filesystem::path& data) {
  if (!o.prompt.empty()) return {tokenizer.encode(o.prompt), "prompt"};
  if (!o.tokens.empty()) return {parse_ids(o.tokens), cat("token ids of ", o.tokens.string())};
  if (o.prompt_file.empty()) return read_articles(open_articles(o, data), o, tokenizer, wanted);
  const std::string text(without_mark(read_input(o.prompt_file)));
  try {
    return {tokenizer.encode(text), cat("file ", o.prompt_file.string())};
  } catch (const DataError& error) {
    throw DataError(cat(o.prompt_file.string(), ": ", error.what()));
  }
}

bool wants_bos(const TextOptions& o, const Tokenizer& tokenizer) {
  if (o.bos == "auto") return tokenizer.adds_bos() && o.tokens.empty();
  require<UsageError>(o.bos != "on" || tokenizer.bos(), "--bos on: this tokenizer has no BOS token");
  return o.bos == "on";
}

// ALiBi has no largest position, whatever the texts of the training were.
int64_t most_positions(const ModelConfig& model) {
  return model.position == PositionKind::alibi ? std::numeric_limits<int64_t>::max() : model.context;
}

void cut(TextIds& source, const TextOptions& o, int64_t length, int64_t context) {
  std::vector<int32_t>& ids = source.ids;
  const auto size = [&] { return static_cast<int64_t>(ids.size()); };
  if (o.seq_len > 0) {
    require(size() >= length, "--seq-len asks for ", length, " tokens; the text has ", size(),
            ", BOS included");
    ids.resize(static_cast<size_t>(length));
  } else if (source.article && size() > length) {
    ids.resize(static_cast<size_t>(length));
  }
  if (size() > context && o.truncate) ids.resize(static_cast<size_t>(context));
  require(size() <= context, "the text has ", size(), " tokens; the model's context is ", context,
          ". Give --truncate to use the first ", context, ", or --seq-len");
}

int64_t wanted_tokens(const TextOptions& o, const ModelConfig& model) {
  return o.seq_len > 0 ? o.seq_len : std::max<int64_t>(std::min(article_tokens, model.context - o.room), 1);
}

}  // namespace

std::string hash_of(std::span<const int32_t> ids) {
  return sha256({reinterpret_cast<const char*>(ids.data()), ids.size_bytes()});
}

void check_length(const TextOptions& o, const ModelConfig& model) {
  require<UsageError>(o.seq_len <= most_positions(model), "--seq-len ", o.seq_len,
                      " is more than the model's context of ", model.context, " tokens");
}

text::TextCollection open_articles(const TextOptions& o, const std::filesystem::path& data) {
  return o.wikitext_dir.empty() ? text::open_samples(data / "samples") : text::open_wikitext(o.wikitext_dir);
}

TextInput to_input(TextIds source, const TextOptions& o, const Tokenizer& tokenizer,
                   const ModelConfig& model) {
  TextInput input;
  input.bos = wants_bos(o, tokenizer);
  const int64_t length = wanted_tokens(o, model);
  require(!source.ids.empty() || length == 1, "the text (", source.description,
          ") is empty; there is nothing to run the model on");
  const bool has_bos = input.bos && !source.ids.empty() && source.ids.front() == tokenizer.bos();
  if (input.bos && !has_bos) source.ids.insert(source.ids.begin(), *tokenizer.bos());
  cut(source, o, length, most_positions(model));
  for (const int32_t id : source.ids)
    require(id < model.vocabulary, source.description, ": token id ", id,
            " is outside the model's vocabulary of ", model.vocabulary,
            o.tokens.empty() ? "; the tokenizer in the model's folder belongs to another model" : "");
  for (const int32_t id : source.ids) input.tokens.text.push_back(tokenizer.piece(id));
  input.tokens.positions.resize(source.ids.size());
  std::iota(input.tokens.positions.begin(), input.tokens.positions.end(), 0);
  input.sha256 = hash_of(source.ids);
  input.tokens.ids = std::move(source.ids);
  input.more_articles = source.more_articles;
  input.description = std::move(source.description);
  return input;
}

TextInput read_article(const text::TextCollection& articles, const TextOptions& o, const Tokenizer& tokenizer,
                       const ModelConfig& model) {
  const int64_t bos = wants_bos(o, tokenizer) ? 1 : 0;
  return to_input(read_articles(articles, o, tokenizer, wanted_tokens(o, model) - bos), o, tokenizer, model);
}

TextInput read_text(const TextOptions& o, const Tokenizer& tokenizer, const ModelConfig& model,
                    const std::filesystem::path& data) {
  check_length(o, model);
  const int64_t length = wanted_tokens(o, model);
  const int64_t bos = wants_bos(o, tokenizer) ? 1 : 0;
  return to_input(read_source(o, tokenizer, length - bos, data), o, tokenizer, model);
}

void add_options(nlohmann::ordered_json& effective, const TextOptions& o) {
  effective["prompt-file"] = o.prompt_file.string();
  effective["tokens"] = o.tokens.string();
  effective["wikitext-dir"] = o.wikitext_dir.string();
  effective["wikitext-index"] = o.wikitext_index;
  effective["seq-len"] = o.seq_len;
  effective["bos"] = o.bos;
  effective["truncate"] = o.truncate;
}

void add_options(nlohmann::ordered_json& effective, const TextsOptions& o) {
  add_options(effective, o.text);
  effective["prompts"] = o.prompts.string();
  effective["samples"] = o.samples;
  effective["probe"] = o.probe;
  effective["probe-count"] = o.probe_count;
  effective["probe-tokens"] = o.probe_tokens;
  effective["seed"] = o.seed;
}

}  // namespace kvviz
