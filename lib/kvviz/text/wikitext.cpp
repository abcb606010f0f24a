// SPDX-License-Identifier: MIT
#include "kvviz/text/wikitext.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>
#include <string_view>

#include "kvviz/core/error.hpp"
#include "kvviz/core/mapped_file.hpp"
#include "kvviz/core/trimmed.hpp"

namespace kvviz::text {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

std::optional<std::string_view> title_of(std::string_view line) {
  const std::string_view text = trimmed(line);
  if (text.size() < 5 || !text.starts_with("= ") || !text.ends_with(" =")) return std::nullopt;
  const std::string_view title = trimmed(text.substr(2, text.size() - 4));
  if (title.empty() || title.starts_with('=') || title.ends_with('=')) return std::nullopt;
  return title;
}

int64_t characters_in(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

std::string_view text_in(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// The line that starts at `begin`, with its newline.
std::string_view line_at(std::string_view text, size_t begin) {
  if (begin >= text.size()) return {};
  const void* newline = std::memchr(text.data() + begin, '\n', text.size() - begin);
  const size_t end = newline == nullptr ? text.size() : static_cast<const char*>(newline) - text.data() + 1;
  return text.substr(begin, end - begin);
}

constexpr size_t release_step = size_t{16} << 20;

std::vector<Article> articles_of(const MappedFile& mapped, size_t file, const std::string& name) {
  const std::string_view text = text_in(mapped);
  std::vector<Article> articles;
  size_t begin = text.starts_with(byte_order_mark) ? byte_order_mark.size() : 0;
  Article current{.title = name, .file = file, .begin = static_cast<int64_t>(begin)};
  bool blank_before = true;
  bool has_text = false;
  const auto finish = [&](size_t end) {
    current.end = static_cast<int64_t>(end);
    if (has_text) articles.push_back(current);
  };
  size_t released = 0;
  for (std::string_view line = line_at(text, begin); !line.empty();) {
    const std::string_view next = line_at(text, begin + line.size());
    const bool candidate = blank_before && trimmed(next).empty();
    if (const auto title = candidate ? title_of(line) : std::nullopt) {
      finish(begin);
      current = {.title = std::string(*title), .file = file, .begin = static_cast<int64_t>(begin)};
    }
    current.characters += characters_in(line);
    blank_before = trimmed(line).empty();
    has_text = has_text || !blank_before;
    begin += line.size();
    line = next;
    if (begin - released > release_step) {
      mapped.release(mapped.bytes().subspan(released, begin - released));
      released = begin;
    }
  }
  finish(text.size());
  mapped.release(mapped.bytes());
  return articles;
}

std::vector<fs::path> sorted_files(const fs::path& folder, std::string_view extension) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().extension() == extension) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

TextCollection::TextCollection(std::vector<fs::path> files) : files_(std::move(files)) {
  std::string names;
  for (size_t i = 0; i < files_.size(); ++i) {
    mapped_.push_back(std::make_unique<MappedFile>(files_[i]));
    std::vector<Article> found = articles_of(*mapped_.back(), i, files_[i].filename().string());
    std::move(found.begin(), found.end(), std::back_inserter(articles_));
    names += cat(i == 0 ? "" : ", ", files_[i].string());
  }
  require(!articles_.empty(), "no text in ", names);
}

TextCollection::~TextCollection() = default;
TextCollection::TextCollection(TextCollection&&) noexcept = default;
TextCollection& TextCollection::operator=(TextCollection&&) noexcept = default;

std::string TextCollection::text_of(int64_t first, int64_t last) const {
  const auto count = static_cast<int64_t>(articles_.size());
  require(first >= 0 && first <= last && last < count, "got articles ", first, " to ", last, "; there are ",
          count, " articles, 0 to ", count - 1);
  std::string text;
  for (int64_t i = first; i <= last; ++i) {
    const Article& article = articles_[static_cast<size_t>(i)];
    text += text_in(*mapped_[article.file])
                .substr(static_cast<size_t>(article.begin), static_cast<size_t>(article.end - article.begin));
  }
  return text;
}

TextCollection open_wikitext(const fs::path& folder_or_file) {
  const std::string where = folder_or_file.string();
  require(fs::exists(folder_or_file), where, " does not exist; expected a WikiText folder or file",
          " (scripts/fetch_wikitext gets WikiText-2 where there is a network)");
  if (!fs::is_directory(folder_or_file)) return TextCollection({folder_or_file});
  std::vector<fs::path> files;
  for (const std::string split : {"test", "valid", "train"}) {
    for (const std::string extension : {".raw", ".tokens"}) {
      const fs::path file = folder_or_file / ("wiki." + split + extension);
      if (!fs::is_regular_file(file)) continue;
      files.push_back(file);
      break;
    }
  }
  require(!files.empty(), where, " has none of wiki.{test,valid,train}.{raw,tokens}; ",
          "scripts/fetch_wikitext gets WikiText-2 where there is a network");
  return TextCollection(std::move(files));
}

TextCollection open_samples(const fs::path& folder) {
  require(fs::is_directory(folder), "the folder of sample texts ", folder.string(), " does not exist");
  std::vector<fs::path> files = sorted_files(folder, ".txt");
  require(!files.empty(), "the folder of sample texts ", folder.string(), " has no .txt file");
  return TextCollection(std::move(files));
}

}  // namespace kvviz::text
