// SPDX-License-Identifier: MIT
#include "kvviz/engine/text_input.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <sstream>

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
            at - text.data(), "; expected token ids from 0 on, white space or commas between them");
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

// ALiBi has no largest position, whatever the texts of the training were.
int64_t most_positions(const ModelConfig& model) {
  return model.position == PositionKind::alibi ? std::numeric_limits<int64_t>::max() : model.context;
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

void check_length(const TextOptions& o, const ModelConfig& model) {
  require<UsageError>(o.seq_len <= most_positions(model), "--seq-len ", o.seq_len,
                      " is more than the model's context of ", model.context, " tokens");
}

int64_t wanted_tokens(const TextOptions& o, const ModelConfig& model) {
  return o.seq_len > 0 ? o.seq_len : std::min(article_tokens, model.context);
}

TextInput to_input(Source source, const TextOptions& o, const Tokenizer& tokenizer,
                   const ModelConfig& model) {
  TextInput input;
  input.bos = wants_bos(o, tokenizer);
  const int64_t length = wanted_tokens(o, model);
  require(!source.ids.empty() || length == 1, "the text (", source.description,
          ") is empty; there is nothing to run the model on");
  if (input.bos) source.ids.insert(source.ids.begin(), *tokenizer.bos());
  cut(source.ids, o, length, most_positions(model));
  for (const int32_t id : source.ids)
    require(id < model.vocabulary, source.description, ": token id ", id,
            " is outside the model's vocabulary of ", model.vocabulary,
            "; the tokenizer in the model's folder belongs to another model");
  for (const int32_t id : source.ids) input.tokens.text.push_back(tokenizer.piece(id));
  input.tokens.positions.resize(source.ids.size());
  std::iota(input.tokens.positions.begin(), input.tokens.positions.end(), 0);
  input.sha256 = hash_of(source.ids);
  input.tokens.ids = std::move(source.ids);
  input.description = std::move(source.description);
  return input;
}

// The prompt of a line of a JSONL file: {"text": "..."}.
std::string jsonl_text(const std::string& line, const std::string& where) {
  try {
    return nlohmann::json::parse(line).at("text").get<std::string>();
  } catch (const nlohmann::json::exception&) {
    throw DataError(cat(where, ": got \"", line.substr(0, 40), "\"; expected JSON with a string \"text\""));
  }
}

std::vector<TextInput> prompt_texts(const TextsOptions& o, const Tokenizer& tokenizer,
                                    const ModelConfig& model, const CallOptions& call) {
  std::istringstream lines(read_file(o.prompts));
  const bool jsonl = o.prompts.extension() == ".jsonl";
  std::vector<TextInput> all;
  int64_t number = 0, empty = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::string where = cat(o.prompts.string(), " line ", ++number);
    if (line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) {
      ++empty;
      continue;
    }
    const std::string text = jsonl ? jsonl_text(line, where) : line;
    try {
      all.push_back(to_input({tokenizer.encode(text), where}, o.text, tokenizer, model));
    } catch (const DataError& error) {
      const std::string what = error.what();
      throw DataError(what.find(where) == std::string::npos ? cat(where, ": ", what) : what);
    }
  }
  require(!all.empty(), o.prompts.string(), " holds no prompt (", number, " lines, all empty)");
  if (empty > 0 && !call.quiet)
    std::fprintf(stderr, "kvviz: %s: %lld empty line%s skipped, %zu prompts\n", o.prompts.c_str(),
                 static_cast<long long>(empty), empty == 1 ? "" : "s", all.size());
  return all;
}

// A token without BOS and EOS, drawn evenly. Special tokens other than those cannot be told apart.
int32_t random_token(const Tokenizer& tokenizer, int32_t vocabulary, std::mt19937_64& random) {
  for (;;) {
    // The remainder's bias is below vocabulary / 2^64.
    const auto id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary));
    if (id != tokenizer.bos() && id != tokenizer.eos()) return id;
  }
}

std::vector<TextInput> probe_texts(const TextsOptions& o, const Tokenizer& tokenizer,
                                   const ModelConfig& model) {
  TextOptions text = o.text;
  text.seq_len = o.text.seq_len > 0 ? o.text.seq_len : std::min(o.probe_tokens, model.context);
  const auto vocabulary = static_cast<int32_t>(std::min<int64_t>(tokenizer.vocabulary(), model.vocabulary));
  require(vocabulary > 4, "the vocabulary has ", vocabulary, " tokens: too few to draw from");
  std::mt19937_64 random(o.seed);
  std::vector<TextInput> all;
  for (int64_t i = 0; i < o.probe_count; ++i) {
    std::vector<int32_t> ids(static_cast<size_t>(text.seq_len), random_token(tokenizer, vocabulary, random));
    if (o.probe == "random")
      for (int32_t& id : ids) id = random_token(tokenizer, vocabulary, random);
    all.push_back(to_input({std::move(ids), cat(o.probe, " tokens ", i)}, text, tokenizer, model));
  }
  return all;
}

struct Range {
  int64_t first = 0, last = 0;
};

Range parse_range(const std::string& text) {
  Range range;
  const char* const end = text.data() + text.size();
  auto at = std::from_chars(text.data(), end, range.first);
  range.last = range.first;
  if (at.ec == std::errc() && at.ptr != end && *at.ptr == '-')
    at = std::from_chars(at.ptr + 1, end, range.last);
  require<UsageError>(at.ec == std::errc() && at.ptr == end && range.first >= 0 && range.first <= range.last,
                      "--samples ", text, ": expected a range such as 0-9, or one index");
  return range;
}

Range article_range(const TextsOptions& o, const std::filesystem::path& data) {
  const auto& folder = o.text.wikitext_dir;
  const auto articles = folder.empty() ? text::open_samples(data / "samples") : text::open_wikitext(folder);
  const auto count = static_cast<int64_t>(articles.articles().size());
  if (o.samples.empty()) return {0, count - 1};
  const Range range = parse_range(o.samples);
  require(range.last < count, "--samples ", o.samples, ": there are ", count,
          " articles, from 0 on (kvviz list_samples shows them)");
  return range;
}

}  // namespace

std::string hash_of(std::span<const int32_t> ids) {
  return sha256({reinterpret_cast<const char*>(ids.data()), ids.size_bytes()});
}

TextInput read_text(const TextOptions& o, const Tokenizer& tokenizer, const ModelConfig& model,
                    const std::filesystem::path& data) {
  check_length(o, model);
  const int64_t length = wanted_tokens(o, model);
  const int64_t bos = wants_bos(o, tokenizer) ? 1 : 0;
  return to_input(read_source(o, tokenizer, length - bos, data), o, tokenizer, model);
}

std::vector<TextInput> read_texts(const TextsOptions& o, const Tokenizer& tokenizer, const ModelConfig& model,
                                  const CallOptions& call) {
  check_length(o.text, model);
  if (o.probe != "natural") return probe_texts(o, tokenizer, model);
  if (!o.prompts.empty()) return prompt_texts(o, tokenizer, model, call);
  const bool one =
      o.samples.empty() && (!from_articles(o.text) || o.text.use_wikitext || o.text.wikitext_index > 0);
  if (one) return {read_text(o.text, tokenizer, model, call.data)};
  const Range range = article_range(o, call.data);
  std::vector<TextInput> all;
  for (int64_t i = range.first; i <= range.last; ++i) {
    TextOptions article = o.text;
    article.wikitext_index = i;
    all.push_back(read_text(article, tokenizer, model, call.data));
  }
  return all;
}

int64_t longest(std::span<const TextInput> texts) {
  int64_t most = 0;
  for (const TextInput& text : texts)
    most = std::max(most, static_cast<int64_t>(std::ssize(text.tokens.ids)));
  return most;
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
