// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "kvviz/bind.hpp"
#include "kvviz/command.hpp"
#include "kvviz/paths.hpp"
#include "kvviz/report/console.hpp"
#include "kvviz/report/result.hpp"
#include "kvviz/text/wikitext.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"

namespace kvviz {
namespace {

std::vector<int64_t> count_tokens(const text::TextCollection& articles, const Tokenizer& tokenizer,
                                  int threads) {
  std::vector<int64_t> counts(articles.articles().size());
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::atomic<bool> failed{false};
  const auto work = [&] {
    for (size_t i = next++; i < counts.size(); i = next++) {
      try {
        counts[i] = static_cast<int64_t>(tokenizer.encode(articles.text(static_cast<int64_t>(i))).size());
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> pool;
    const unsigned int count =
        threads > 0 ? static_cast<unsigned int>(threads) : std::thread::hardware_concurrency();
    for (unsigned int i = 1; i < count; ++i) pool.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
  return counts;
}

int list_samples(const ListSamplesOptions& o) {
  const auto articles = o.wikitext_dir.empty() ? text::open_samples(o.call.data / "samples")
                                               : text::open_wikitext(o.wikitext_dir);
  const auto tokenizer = open_tokenizer(model_folder(o.model.model, o.call.data));
  const auto tokens = count_tokens(articles, *tokenizer, o.call.threads);
  Table table{.name = "samples",
              .columns = {{"index", "", ColumnType::integer},
                          {"title", "", ColumnType::text},
                          {"characters", "", ColumnType::integer},
                          {"tokens", "", ColumnType::integer},
                          {"file", "", ColumnType::text}},
              .key = {"index"}};
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto& article = articles.articles()[i];
    table.rows.push_back({static_cast<int64_t>(i), article.title, article.characters, tokens[i],
                          articles.files()[article.file].filename().string()});
  }
  if (o.json == "-") {
    std::printf("%s\n", to_json(table).dump(1).c_str());
    return 0;
  }
  std::printf("%s\n",
              to_console(table, {.width = terminal_width(STDOUT_FILENO), .max_rows = 1000000}).c_str());
  return 0;
}

}  // namespace

Action declare_list_samples(CLI::App& app) {
  auto o = std::make_shared<ListSamplesOptions>();
  app.add_option("--wikitext-dir", o->wikitext_dir,
                 "folder with wiki.*.raw or wiki.*.tokens (none: the shipped texts)")
      ->type_name("DIR")
      ->check(not_empty())
      ->group("Text");
  app.add_option("--model", o->model.model, "model whose tokenizer counts the tokens")
      ->type_name("MODEL")
      ->group("Model");
  app.add_option("--json", o->json, "-: the list as JSON")->check(CLI::IsMember({"-"}))->group("Output");
  return [o](const CallOptions& call) {
    o->call = call;
    return list_samples(*o);
  };
}

}  // namespace kvviz
