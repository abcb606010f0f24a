// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kvviz/report/result.hpp"
#include "kvviz/stats/running_spread.hpp"

namespace kvviz::tables {

/// A number of the summary that lies between these bounds whatever the text, as a share does.
struct FactRange {
  std::string fact;
  double low = 0, high = 1;
};

/// A table whose rows mean the same in every text: their key names a layer, a head, a channel, a policy.
struct TableOverTexts {
  std::string name;
  std::vector<std::string> kept{};      ///< columns that are alike in all texts: the first text's is put out
  std::vector<std::string> left_out{};  ///< numbers that have no mean, for they name something: a group
  bool most_texts_first = false;        ///< rows: those that most texts have first; else as they are met
};

struct OverTextsOptions {
  std::vector<FactRange> ranges;
  std::vector<TableOverTexts> tables;  ///< other tables are left out
};

/// Which text a result is of.
struct TextName {
  int64_t index = 0;
  std::string name;
  int64_t tokens = 0;
};

/// The numbers of the summaries of many texts. What is kept grows by one number a text and fact: the table
/// `texts` holds them.
class FactsOverTexts {
 public:
  explicit FactsOverTexts(std::vector<FactRange> ranges) : ranges_(std::move(ranges)) {}
  void add(const TextName& text, std::span<const Fact> facts);

  std::vector<Fact> summary() const;
  Table facts() const;       ///< "facts_over_texts", key: fact
  Table histograms() const;  ///< "fact_histograms", key: fact, bin
  Table texts() const;       ///< "texts", key: text

 private:
  struct Line {
    std::string key, unit, label;
    stats::RunningSpread spread{};
    std::string reason{};  ///< why the first text without a number has none
    Cell first{};          ///< value of the first text that has one
    int64_t met = 0;       ///< texts that have it, or say why not
    bool word = false, whole = true, same = true;
  };
  struct Text {
    TextName name;
    std::vector<Cell> values;  ///< [fact]; facts that were met later are missing at the end
  };
  Line& line(const Fact& fact);
  bool stays(const Line& line) const;

  std::vector<FactRange> ranges_;
  std::vector<Line> lines_;
  std::map<std::string, size_t> index_;
  std::vector<Text> texts_;
};

/// One table of many texts, row by row: sums alone, whatever the number of texts.
class RowsOverTexts {
 public:
  explicit RowsOverTexts(TableOverTexts what) : what_(std::move(what)) {}
  const std::string& name() const { return what_.name; }
  void add(const Table& table);
  bool empty() const { return rows_.empty(); }
  /// "<name>_over_texts", with the table's key: `texts` that have the row; of every other
  /// number x the mean `x`, the standard deviation `x_sd` (n - 1), and `x_n`, the number of texts that have
  /// it, where some row has x in fewer texts than it has been in.
  Table table() const;

 private:
  struct Row {
    std::vector<Cell> key, kept;
    std::vector<stats::RunningSpread> numbers;
    std::vector<std::string> reasons;  ///< why a number is missing
    int64_t texts = 0;
  };
  void choose_columns(const Table& table);
  bool has_gaps(size_t number) const;

  TableOverTexts what_;
  std::vector<Column> columns_;  ///< of the table of one text
  std::vector<std::string> key_;
  std::vector<size_t> keys_, kept_, numbers_;  ///< places in columns_
  std::vector<Row> rows_;
  std::map<std::vector<std::string>, size_t> index_;  ///< by key_texts() of the keys
};

/// Results of many texts as one. Texts are to be added in their order; the same results in the same order
/// give the same bits.
///
///   summary: `texts`, `tokens_total`, and every number's mean over the texts that have it, under its own
///     name; behind it `<name>_se`, the standard error of the mean (sd / sqrt n). Whole numbers and words
///     that all texts have alike stay as they are, without one; words that differ are left to `texts`.
///   facts_over_texts, key fact: `unit`; `texts` that have the number; `mean`, `sd` (n - 1), `se`; `ci95_low`
///     and `ci95_high`, the 95 % confidence interval of the mean (stats::mean_interval); `min`, `max`.
///   fact_histograms, key fact, bin: `low`, `high`, `texts` in the bin, which has its lower edge, the last
///   one
///     both. 20 bins, between the bounds of the fact's range or else from its least to its greatest; of whole
///     numbers that take at most 20 values a bin a value. Facts without a range that are alike in all texts
///     have none.
///   texts, key text: `name`, `tokens` and every fact of the text.
///   <table>_over_texts: RowsOverTexts::table().
///
/// Memory: of a text one row of `texts`, nothing else. Cost: linear in what is added.
class OverTexts {
 public:
  explicit OverTexts(const OverTextsOptions& options);
  void add(const TextName& text, const Result& result);
  /// Adds summary and tables. At least one text has been added.
  void put_into(Result& result) const;

 private:
  FactsOverTexts facts_;
  std::vector<RowsOverTexts> tables_;
};

/// What a changed cache does to predictions: of these numbers commands with many rows a text show histograms.
inline const std::vector<std::string> judged_facts{"delta_nll", "kl", "top1_agreement", "recall"};

/// From a table with a row for each text, or for each text and group (its key: text, and for example policy
/// and budget): facts_over_texts and fact_histograms as above, of every number but standard errors, with the
/// group's columns before them in their keys. Histograms are of the numbers named, or of all where none is.
/// Nothing is added where there is no such table, or of one text. Cost: linear.
void add_over_texts(Result& result, const std::string& texts_table,
                    const std::vector<std::string>& histograms = {});

}  // namespace kvviz::tables
