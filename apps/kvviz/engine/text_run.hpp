// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/batch/record_file.hpp"
#include "kvviz/batch/record_set.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/engine/text_source.hpp"
#include "kvviz/report/result.hpp"

namespace kvviz {

/// A run of a command over texts. Each text is measured by itself and gives a record; results are made of the
/// records alone, in the order of the texts, so that they do not depend on who measured which text when.
/// Records of one text stay in memory; those of several are appended to results/<command>.records, from
/// which --resume goes on, and which kvviz merge reads in place of a model and texts.
class TextRun {
 public:
  struct Request {
    const char* command;
    const CallOptions& call;
    const ModelOptions& model;
    const TextsOptions& texts;
    std::filesystem::path out;
    /// Says by throwing DataError that the command can do nothing with a text, UsageError that it cannot with
    /// any. Called before any weight is read, for each text. Empty: all will do.
    std::function<void(const batch::PlannedText&)> check{};
  };
  /// Opens the model's folder and the tokenizer and looks at every text, or, in kvviz merge, reads the plan.
  /// A text that fails is left out, where there are others and without --strict. Throws as open_texts() and
  /// RecordSet::open(), and what a text threw where all have failed.
  explicit TextRun(const Request& request);
  ~TextRun();
  TextRun(const TextRun&) = delete;
  TextRun& operator=(const TextRun&) = delete;

  const ModelConfig& config() const { return config_; }
  /// All texts of the run, those of other shards too.
  const batch::Plan& plan() const { return plan_; }
  /// Tokens of the longest text; of all shards.
  int64_t longest() const;
  int64_t shortest() const;
  /// The first text that has not failed before the run.
  int64_t first() const;
  /// Of a run without shards, or of kvviz merge: what needs all texts at once.
  bool whole() const { return plan_.shard.count == 1; }
  bool merging() const { return set_.has_value(); }

  /// What a text is measured with.
  struct Work {
    const Runner& runner;
    const TextInput& text;
    int64_t index = 0;
    bool quiet = false;
  };
  struct Measuring {
    std::string doing;        ///< of the progress: "running the texts"
    int64_t more_tokens = 0;  ///< that come behind each text
    int64_t at_once = 0;      ///< as load_runner()
    bool alone = false;       ///< one text after the other, because times are taken
  };
  /// Loads the model and measures each text that has no record yet; several at once, as --workers says. What
  /// it returns must be the same whoever calls it. DataError and errors of libtorch become the text's
  /// failure, where there are other texts and without --strict. A text for which there is no memory beside
  /// others is measured again by itself.
  void measure(const Measuring& measuring, const std::function<nlohmann::json(const Work&)>& work);

  /// Throws UsageError, naming `option`, in a shard and in kvviz merge: it takes the model and all texts.
  void require_whole(const char* option) const;
  /// The texts that have not failed, all at once.
  std::vector<TextInput> texts() const;

  /// Whether only a shard has been measured: there is no result then; says on stdout where the records are.
  bool only_a_shard() const;

  struct Record {
    int64_t index;  ///< of the text
    const batch::PlannedText& text;
    nlohmann::json body;
  };
  /// Every text's record in the order of the texts, without those that failed. Throws DataError where all
  /// have.
  void each(const std::function<void(const Record&)>& take) const;
  /// Texts that have not failed.
  int64_t measured() const { return plan_texts() - std::ssize(failures()); }
  int64_t plan_texts() const { return std::ssize(plan_.texts); }

  struct Failure {
    int64_t index;
    std::string text, reason;
  };
  const std::vector<Failure>& failures() const;

  /// Where the numbers come from; texts that failed are not counted. After measure().
  SubjectOrigin origin() const;
  /// provenance_of() with the command line of the run that began.
  nlohmann::ordered_json provenance(const CallOptions& call, nlohmann::ordered_json options) const;
  /// Facts texts_failed and table failed_texts, where texts have failed, and a remark on them.
  void add_failures(Result& result, Delivery& delivery) const;

  /// The model, after measure(), for what is done once with all texts. Loaded now where nothing was measured.
  const Runner& runner();

 private:
  void look_at_texts(const Request& request);
  void open_records();
  void load(const Measuring& measuring);
  /// Whether the records are of weights that may not be those that are there now; false where none are.
  bool weights_changed() const;
  int workers(const Measuring& measuring, int64_t texts) const;
  nlohmann::json one_text(const std::function<nlohmann::json(const Work&)>& work, int64_t index, bool quiet);
  std::optional<nlohmann::json> find(const batch::RecordName& name) const;
  bool has(const batch::RecordName& name) const;
  std::vector<int64_t> sound_texts() const;  ///< that have not failed
  void add(const batch::RecordName& name, nlohmann::json body);

  CallOptions call_;
  BatchOptions batch_;
  bool force_ = false;
  std::filesystem::path file_;  ///< of the records
  batch::Plan plan_;
  ModelConfig config_;
  std::optional<OpenedFolder> opened_;  ///< until the model is loaded
  std::optional<Runner> runner_;
  TextSource source_;
  std::optional<batch::RecordFile> records_;          ///< of several texts
  std::map<batch::RecordName, nlohmann::json> kept_;  ///< of one
  std::optional<batch::RecordSet> set_;               ///< of kvviz merge
  mutable std::optional<std::vector<Failure>> failures_;
};

}  // namespace kvviz
