// SPDX-License-Identifier: MIT
#include "kvviz/engine/text_input.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/text/wikitext.hpp"

namespace kvviz {
namespace {

constexpr int64_t article_tokens = 512;  // of an article when --seq-len does not say

bool from_articles(const TextOptions& o) {
  return o.prompt.empty() && o.prompt_file.empty() && o.tokens.empty();
}

struct Source {
  std::vector<int32_t> ids;
  std::string description;
};

std::vector<int32_t> parse_ids(const std::filesystem::path& file) {
  const std::string text = read_file(file);
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
            at - text.data(), "; expected token ids from 0 on, white space between them");
    ids.push_back(id);
    at = next;
  }
}

// Joins articles from `index` on until `wanted` tokens are there. Each is tokenised on its own, so an id does
// not depend on how many follow.
Source read_articles(const TextOptions& o, const Tokenizer& tokenizer, int64_t wanted,
                     const std::filesystem::path& data) {
  const bool samples = o.wikitext_dir.empty();
  const auto articles = samples ? text::open_samples(data / "samples") : text::open_wikitext(o.wikitext_dir);
  const auto count = static_cast<int64_t>(articles.articles().size());
  require(o.wikitext_index < count, "there is no article ", o.wikitext_index, "; there are ", count,
          ", from 0 on (kvviz list_samples shows them)");
  Source source;
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
  source.description = cat(samples ? "sample text " : "WikiText article ", o.wikitext_index, ", ",
                           articles.articles()[static_cast<size_t>(o.wikitext_index)].title);
  if (next - o.wikitext_index > 1) source.description += cat(", and the next ", next - o.wikitext_index - 1);
  return source;
}

Source read_source(const TextOptions& o, const Tokenizer& tokenizer, int64_t wanted,
                   const std::filesystem::path& data) {
  if (!o.prompt.empty()) return {tokenizer.encode(o.prompt), "prompt"};
  if (!o.tokens.empty()) return {parse_ids(o.tokens), cat("token ids of ", o.tokens.string())};
  if (o.prompt_file.empty()) return read_articles(o, tokenizer, wanted, data);
  const std::string text = read_file(o.prompt_file);
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

void cut(std::vector<int32_t>& ids, const TextOptions& o, int64_t length, int64_t context) {
  const auto size = [&] { return static_cast<int64_t>(ids.size()); };
  if (o.seq_len > 0) {
    require(size() >= length, "--seq-len asks for ", length, " tokens; the text has ", size(),
            ", BOS included");
    ids.resize(static_cast<size_t>(length));
  } else if (from_articles(o) && size() > length) {
    ids.resize(static_cast<size_t>(length));
  }
  if (size() > context && o.truncate) ids.resize(static_cast<size_t>(context));
  require(size() <= context, "the text has ", size(), " tokens; the model's context is ", context,
          ". Give --truncate to use the first ", context, ", or --seq-len");
}

}  // namespace

std::string hash_of(std::span<const int32_t> ids) {
  return sha256({reinterpret_cast<const char*>(ids.data()), ids.size_bytes()});
}

TextInput read_text(const TextOptions& o, const Tokenizer& tokenizer, const ModelConfig& model,
                    const std::filesystem::path& data) {
  require<UsageError>(o.seq_len <= model.context, "--seq-len ", o.seq_len,
                      " is more than the model's context of ", model.context, " tokens");
  TextInput input;
  input.bos = wants_bos(o, tokenizer);
  const int64_t length = o.seq_len > 0 ? o.seq_len : std::min(article_tokens, model.context);
  Source source = read_source(o, tokenizer, length - (input.bos ? 1 : 0), data);
  require(!source.ids.empty() || length == 1, "the text (", source.description,
          ") is empty; there is nothing to run the model on");
  if (input.bos) source.ids.insert(source.ids.begin(), *tokenizer.bos());
  cut(source.ids, o, length, model.context);
  for (const int32_t id : source.ids)
    require(id < model.vocabulary, source.description, ": token id ", id,
            " is outside the model's vocabulary of ", model.vocabulary);
  for (const int32_t id : source.ids) input.tokens.text.push_back(tokenizer.piece(id));
  input.tokens.positions.resize(source.ids.size());
  std::iota(input.tokens.positions.begin(), input.tokens.positions.end(), 0);
  input.sha256 = hash_of(source.ids);
  input.tokens.ids = std::move(source.ids);
  input.description = std::move(source.description);
  return input;
}

}  // namespace kvviz
