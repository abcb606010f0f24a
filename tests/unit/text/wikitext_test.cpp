// SPDX-License-Identifier: MIT
#include "kvviz/text/wikitext.hpp"

#include <doctest/doctest.h>

#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace kvviz::text {
namespace {
namespace fs = std::filesystem;
using test::holds;
using test::message_of;
using test::TemporaryFolder;

const std::string first =
    " = First = \n \n A text @-@ with <unk> . \n \n = = Part = = \n \n \xC3\xA9t\xC3\xA9 \n \n";
const std::string second =
    " = Second ( a = b ) = \n \n a cut off at k \n = 1 rad / s and k = \n 1 henry \n \n";

TEST_CASE("[wikitext] articles begin at headings with blank lines around, and tile the file") {
  const TemporaryFolder folder;
  write_file(folder / "wiki.test.raw", " \n" + first + second);
  const TextCollection texts = open_wikitext(folder.path());
  REQUIRE(texts.articles().size() == 2);
  CHECK(texts.articles()[0].title == "First");
  CHECK(texts.articles()[1].title == "Second ( a = b )");
  CHECK(texts.articles()[0].begin == 2);
  CHECK(texts.articles()[0].characters == static_cast<int64_t>(first.size()) - 2);
  CHECK(texts.text(0) == first);
  CHECK(texts.text(1) == second);
  CHECK(texts.text_of(0, 1) == first + second);
}

TEST_CASE("[wikitext] splits come in the order test, valid, train; .raw goes before .tokens") {
  const TemporaryFolder folder;
  const auto article = [](const std::string& title) { return " \n = " + title + " = \n \n text \n"; };
  write_file(folder / "wiki.train.raw", article("train"));
  write_file(folder / "wiki.test.tokens", article("test tokens"));
  write_file(folder / "wiki.valid.tokens", article("valid"));
  const auto titles = [&] {
    std::vector<std::string> names;
    const TextCollection texts = open_wikitext(folder.path());
    for (const Article& a : texts.articles()) names.push_back(a.title);
    return names;
  };
  CHECK(titles() == std::vector<std::string>{"test tokens", "valid", "train"});
  write_file(folder / "wiki.test.raw", article("test raw") + article("test raw 2"));
  CHECK(titles() == std::vector<std::string>{"test raw", "test raw 2", "valid", "train"});
}

TEST_CASE(
    "[wikitext] text without a heading, before the first one, with CRLF, a byte order mark or no last "
    "newline") {
  const TemporaryFolder folder;
  write_file(folder / "plain.txt", "Only text.\n\nMore.");
  const TextCollection plain = open_wikitext(folder / "plain.txt");
  REQUIRE(plain.articles().size() == 1);
  CHECK(plain.articles()[0].title == "plain.txt");
  CHECK(plain.text(0) == "Only text.\n\nMore.");

  write_file(folder / "preface.txt", "Preface.\n\n= One =\n\ntext");
  const TextCollection preface = open_wikitext(folder / "preface.txt");
  REQUIRE(preface.articles().size() == 2);
  CHECK(preface.text(0) == "Preface.\n\n");
  CHECK(preface.articles()[1].title == "One");
  CHECK(preface.text(1) == "= One =\n\ntext");

  write_file(folder / "dos.txt", "\xEF\xBB\xBF = One = \r\n \r\n text \r\n \r\n = Two = ");
  const TextCollection dos = open_wikitext(folder / "dos.txt");
  REQUIRE(dos.articles().size() == 2);
  CHECK(dos.articles()[0].title == "One");
  CHECK(dos.text(1) == " = Two = ");
}

TEST_CASE("[wikitext] what is missing is named, with the way to get it") {
  const TemporaryFolder folder;
  const auto refusal = [](auto work) { return message_of<DataError>(work); };
  const std::string none = refusal([&] { open_wikitext(folder / "none"); });
  CHECK(holds(none, (folder / "none").string()));
  CHECK(holds(none, "scripts/fetch_wikitext"));
  const std::string empty = refusal([&] { open_wikitext(folder.path()); });
  CHECK(holds(empty, "wiki.{test,valid,train}.{raw,tokens}"));
  CHECK(holds(empty, "scripts/fetch_wikitext"));
  write_file(folder / "wiki.test.raw", " \n \n");
  CHECK(holds(refusal([&] { open_wikitext(folder.path()); }), "no text in"));
  write_file(folder / "wiki.test.raw", "");
  CHECK(holds(refusal([&] { open_wikitext(folder.path()); }), "no text in"));
  write_file(folder / "wiki.test.raw", first);
  const TextCollection texts = open_wikitext(folder.path());
  CHECK(holds(refusal([&] { texts.text(1); }), "there are 1 articles, 0 to 0"));
  CHECK(holds(refusal([&] { texts.text(-1); }), "got articles -1 to -1"));
  CHECK(holds(refusal([&] { open_samples(folder / "none"); }), "does not exist"));
  CHECK(holds(refusal([&] { open_samples(folder.path()); }), "no .txt file"));
}

TEST_CASE("[wikitext] sample files are read in the order of their names") {
  const TemporaryFolder folder;
  write_file(folder / "b.txt", second);
  write_file(folder / "a.txt", first);
  write_file(folder / "c.md", "not a sample");
  const TextCollection texts = open_samples(folder.path());
  REQUIRE(texts.articles().size() == 2);
  CHECK(texts.articles()[0].title == "First");
  CHECK(texts.articles()[1].file == 1);
}

TEST_CASE("[wikitext] WikiText-2: 60 articles in each of test and valid" * doctest::test_suite("refdata")) {
  const fs::path folder = fs::path(KVVIZ_REFDATA) / "text" / "wikitext-2";
  const TextCollection texts = open_wikitext(folder);
  REQUIRE(texts.articles().size() == 120);
  CHECK(texts.articles()[0].title == "Robert Boulter");
  CHECK(texts.articles()[27].title == "Constant k filter");
  CHECK(texts.articles()[59].title == "The Hustler ( film )");
  CHECK(texts.articles()[60].title == "Homarus gammarus");
  const std::string bytes = read_file(folder / "wiki.test.raw");
  CHECK(bytes.substr(0, 2) + texts.text_of(0, 59) == bytes);
}

}  // namespace
}  // namespace kvviz::text
