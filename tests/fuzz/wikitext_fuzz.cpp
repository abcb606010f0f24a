// SPDX-License-Identifier: MIT
#include "kvviz/text/wikitext.hpp"

#include "fuzz_target.hpp"

// Articles stand one after the other, without a gap but for what is blank, and their text is the file's.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  const std::string_view bytes = test::as_text(data, size);
  const test::TemporaryFolder folder;
  const std::filesystem::path file = test::as_file(folder, bytes, "wiki.test.raw");
  return test::survives([&] {
    const text::TextCollection articles = text::open_wikitext(file);
    int64_t end = 0;
    for (size_t i = 0; i < articles.articles().size(); ++i) {
      const text::Article& article = articles.articles()[i];
      test::expect(article.begin >= end && article.end > article.begin, "articles overlap");
      test::expect(article.end <= static_cast<int64_t>(size), "an article ends behind the file");
      end = article.end;
      const std::string text = articles.text(static_cast<int64_t>(i));
      test::expect(text == bytes.substr(static_cast<size_t>(article.begin), text.size()),
                   "not the file's text");
      test::expect(article.characters <= static_cast<int64_t>(text.size()), "more characters than bytes");
    }
    articles.text_of(0, static_cast<int64_t>(articles.articles().size()) - 1);
  });
}
