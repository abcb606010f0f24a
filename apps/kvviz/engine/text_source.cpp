// SPDX-License-Identifier: MIT
#include "kvviz/engine/text_source.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <random>
#include <string_view>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/mapped_file.hpp"
#include "kvviz/engine/byte_order_mark.hpp"

namespace kvviz {
namespace {
namespace fs = std::filesystem;

/// What texts are made with.
struct Reader {
  const Tokenizer& tokenizer;
  const ModelConfig& model;
  TextOptions text;
  TextInput input(TextIds ids) const { return to_input(std::move(ids), text, tokenizer, model); }
  /// The same with the place in the message.
  TextInput prompt(const std::string& text_itself, const std::string& where) const {
    try {
      return input({tokenizer.encode(text_itself), where});
    } catch (const DataError& error) {
      const std::string what = error.what();
      throw DataError(what.find(where) == std::string::npos ? cat(where, ": ", what) : what);
    }
  }
};

// The prompt of a line of a JSONL file: {"text": "..."}.
std::string jsonl_text(const std::string& line, const std::string& where) {
  try {
    return nlohmann::json::parse(line).at("text").get<std::string>();
  } catch (const nlohmann::json::exception&) {
    throw DataError(cat(where, ": got \"", line.substr(0, 40), "\"; expected JSON with a string \"text\""));
  }
}

struct Line {
  int64_t number = 0;
  std::string_view text;
};

/// Lines with something in them.
std::vector<Line> lines_of(std::string_view text, int64_t& count) {
  std::vector<Line> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++count;
    if (line.find_first_not_of(" \t") != std::string_view::npos) lines.push_back({count, line});
  }
  return lines;
}

TextSource prompt_lines(const TextsOptions& o, Reader reader, const CallOptions& call) {
  const bool jsonl = o.prompts.extension() == ".jsonl";
  require<UsageError>(o.prompts.extension() != ".json", "--prompts ", o.prompts.string(),
                      " is JSON as a whole; expected a prompt a line, or JSON a line in a .jsonl file");
  const auto file = std::make_shared<const MappedFile>(o.prompts);
  const auto bytes = file->bytes();
  int64_t count = 0;
  auto lines = std::make_shared<const std::vector<Line>>(
      lines_of(without_mark({reinterpret_cast<const char*>(bytes.data()), bytes.size()}), count));
  const std::string path = o.prompts.string();
  require(!lines->empty(), path, " holds no prompt (", count, " lines, all empty)");
  const int64_t empty = count - std::ssize(*lines);
  if (empty > 0 && !call.quiet)
    std::fprintf(stderr, "kvviz: %s: %lld empty line%s skipped, %zu prompts\n", path.c_str(),
                 static_cast<long long>(empty), empty == 1 ? "" : "s", lines->size());
  const auto name = [path, lines](int64_t i) {
    return cat(path, " line ", (*lines)[static_cast<size_t>(i)].number);
  };
  return {.size = std::ssize(*lines),
          .files = {o.prompts},
          .name = name,
          .read = [=, reader = std::move(reader)](int64_t i) {
            const std::string line((*lines)[static_cast<size_t>(i)].text), where = name(i);
            static_cast<void>(file);  // that the lines are in
            return reader.prompt(jsonl ? jsonl_text(line, where) : line, where);
          }};
}

TextSource prompt_folder(const TextsOptions& o, Reader reader) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(o.prompts))
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  require(!files.empty(), o.prompts.string(), " holds no *.txt file");
  std::ranges::sort(files);
  const auto name = [files](int64_t i) { return cat("file ", files[static_cast<size_t>(i)].string()); };
  return {.size = std::ssize(files),
          .files = files,
          .name = name,
          .read = [=, reader = std::move(reader)](int64_t i) {
            // Not read_input(): looking at every file after every text would take the square of their number.
            // A text that is another one when it is measured is noticed by its hash.
            return reader.prompt(std::string(without_mark(read_file(files[static_cast<size_t>(i)]))),
                                 name(i));
          }};
}

// A token without BOS and EOS, drawn evenly. Special tokens other than those cannot be told apart.
int32_t random_token(const Tokenizer& tokenizer, int32_t vocabulary, std::mt19937_64& random) {
  for (;;) {
    // The remainder's bias is below vocabulary / 2^64.
    const auto id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary));
    if (id != tokenizer.bos() && id != tokenizer.eos()) return id;
  }
}

TextSource probe_texts(const TextsOptions& o, Reader reader) {
  reader.text.seq_len = o.text.seq_len > 0 ? o.text.seq_len : std::min(o.probe_tokens, reader.model.context);
  const auto vocabulary =
      static_cast<int32_t>(std::min<int64_t>(reader.tokenizer.vocabulary(), reader.model.vocabulary));
  require(vocabulary > 4, "the vocabulary has ", vocabulary, " tokens: too few to draw from");
  std::mt19937_64 random(o.seed);
  auto all = std::make_shared<std::vector<std::vector<int32_t>>>();
  for (int64_t i = 0; i < o.probe_count; ++i) {
    auto& ids = all->emplace_back(static_cast<size_t>(reader.text.seq_len),
                                  random_token(reader.tokenizer, vocabulary, random));
    if (o.probe == "random")
      for (int32_t& id : ids) id = random_token(reader.tokenizer, vocabulary, random);
  }
  const auto name = [probe = o.probe](int64_t i) { return cat(probe, " tokens ", i); };
  return {
      .size = o.probe_count, .files = {}, .name = name, .read = [=, reader = std::move(reader)](int64_t i) {
        return reader.input({(*all)[static_cast<size_t>(i)], name(i)});
      }};
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

TextSource article_texts(const TextsOptions& o, Reader reader, const CallOptions& call) {
  const auto articles = std::make_shared<const text::TextCollection>(open_articles(o.text, call.data));
  const auto count = static_cast<int64_t>(articles->articles().size());
  const Range range = o.samples.empty() ? Range{0, count - 1} : parse_range(o.samples);
  require(range.last < count, "--samples ", o.samples, ": there are ", count,
          " articles, from 0 on (kvviz list_samples shows them)");
  return {.size = range.last - range.first + 1,
          .files = articles->files(),
          .name =
              [=](int64_t i) {
                return cat("article ", range.first + i, ", ",
                           articles->articles()[static_cast<size_t>(range.first + i)].title);
              },
          .read =
              [=, reader = std::move(reader)](int64_t i) {
                TextOptions article = reader.text;
                article.wikitext_index = range.first + i;
                return read_article(*articles, article, reader.tokenizer, reader.model);
              }};
}

}  // namespace

bool names_one_text(const TextsOptions& o) {
  return o.prompts.empty() && o.samples.empty() && o.probe == "natural";
}

TextSource open_texts(const TextsOptions& o, const Tokenizer& tokenizer, const ModelConfig& model,
                      const CallOptions& call) {
  check_length(o.text, model);
  const Reader reader{tokenizer, model, o.text};
  if (o.probe != "natural") return probe_texts(o, reader);
  if (!o.prompts.empty())
    return fs::is_directory(o.prompts) ? prompt_folder(o, reader) : prompt_lines(o, reader, call);
  const bool from_articles = o.text.prompt.empty() && o.text.prompt_file.empty() && o.text.tokens.empty();
  const bool one =
      o.samples.empty() && (o.one_text || !from_articles || o.text.use_wikitext || o.text.wikitext_index > 0);
  if (!one) return article_texts(o, reader, call);
  // Read once: it may come from a pipe.
  const auto text =
      std::make_shared<const TextInput>(read_text(reader.text, reader.tokenizer, reader.model, call.data));
  return {.size = 1,
          .files = {},
          .name = [](int64_t) { return std::string("the text"); },
          .read = [text](int64_t) { return *text; }};
}

}  // namespace kvviz
