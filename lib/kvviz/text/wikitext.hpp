// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace kvviz {
class MappedFile;
}

namespace kvviz::text {

/// One article of a text collection. It begins at its heading and ends where the next one begins, so
/// consecutive articles of a file, one after the other, are the file's text without a gap.
struct Article {
  std::string
      title;  ///< heading without its marks: "Robert Boulter"; the file's name where text has no heading
  size_t file = 0;    ///< index into TextCollection::files()
  int64_t begin = 0;  ///< byte range in the file
  int64_t end = 0;
  int64_t characters = 0;  ///< Unicode code points (bytes that do not continue one)
};

/// Articles of files in WikiText's layout: an article starts at a line " = Title = " that has a blank line
/// (or the file's end) on both sides; " = = Section = = " lines are inside. Text before the first heading,
/// unless blank, is an article of its own. The text is given as it is, with WikiText's " @-@ " and <unk>.
///
/// Files are mapped, not read: listing costs one pass over the bytes in O(articles) memory (about 3 GB/s),
/// and text is touched when asked for.
class TextCollection {
 public:
  /// `files` in this order. Throws DataError when one cannot be read or all are blank.
  explicit TextCollection(std::vector<std::filesystem::path> files);
  ~TextCollection();
  TextCollection(TextCollection&&) noexcept;
  TextCollection& operator=(TextCollection&&) noexcept;

  const std::vector<std::filesystem::path>& files() const { return files_; }
  const std::vector<Article>& articles() const { return articles_; }

  /// The text of article `index`. Throws DataError naming the number of articles when there is no such one.
  std::string text(int64_t index) const { return text_of(index, index); }
  /// The text of articles `first` to `last`, both included, one after the other.
  std::string text_of(int64_t first, int64_t last) const;

 private:
  std::vector<std::filesystem::path> files_;
  std::vector<std::unique_ptr<MappedFile>> mapped_;
  std::vector<Article> articles_;
};

/// WikiText: a file in its layout, or a folder with any of wiki.{test,valid,train}.{raw,tokens}. Indices
/// count through test, then valid, then train; where a split is there as .raw and as .tokens, .raw is taken.
/// So an index stays the same when a split behind it is added. Throws DataError naming what was looked for
/// and where.
TextCollection open_wikitext(const std::filesystem::path& folder_or_file);

/// Sample texts: every .txt file of a folder, in the order of their names. Throws DataError: no folder, no
/// .txt file.
TextCollection open_samples(const std::filesystem::path& folder);

}  // namespace kvviz::text
