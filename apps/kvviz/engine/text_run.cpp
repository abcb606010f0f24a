// SPDX-License-Identifier: MIT
#include "kvviz/engine/text_run.hpp"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <new>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/file_identity.hpp"
#include "kvviz/core/free_memory.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/core/version.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/formats/weight_files.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/model/arch.hpp"
#include "kvviz/model/memory.hpp"
#include "kvviz/stats/blas.hpp"

namespace kvviz {

// Of all shards the same, but for the threads.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SubjectOrigin, model, architecture, dtype, stored_dtype, device,
                                   model_sha256, tokenizer_sha256, threads, bf16_products)

namespace {

constexpr const char* measured_stage = "measured";
constexpr const char* failed_stage = "failed";
constexpr const char* origin_stage = "origin";
constexpr const char* weights_stage = "weights";

/// There may be enough for a text alone.
struct OutOfMemory : DataError {
  using DataError::DataError;
};

/// What `work` throws, as a DataError where the text or the machine is at fault.
template <class Work>
auto with_data_errors(const Work& work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    if (of_memory(error)) throw OutOfMemory(said_by_libtorch(error));
    throw DataError(said_by_libtorch(error));
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(no_memory_text());
  }
}

std::filesystem::path records_file(const std::filesystem::path& out, const char* command,
                                   batch::Shard shard) {
  const std::string part = shard.count == 1 ? "" : cat('.', shard.index, "-of-", shard.count);
  return out / "results" / cat(command, part, ".records");
}

/// How two runs' models differ; empty: they do not.
std::string difference(const SubjectOrigin& a, const SubjectOrigin& b) {
  if (a.model_sha256 != b.model_sha256)
    return cat("weights with the SHA-256 ", a.model_sha256.substr(0, 12), "..., and ",
               b.model_sha256.substr(0, 12), "...");
  if (a.dtype != b.dtype || a.device != b.device)
    return cat(a.dtype, " on ", a.device, ", and ", b.dtype, " on ", b.device);
  return "";
}

/// Sizes and times of the model's files: while they are as they were, so are the weights.
nlohmann::json identities_of(const std::vector<std::filesystem::path>& files) {
  nlohmann::json all = nlohmann::json::array();
  for (const auto& file : files)
    if (const auto identity = identity_of(file)) all.push_back({identity->size, identity->modified});
  return all;
}

/// Libtorch's operations keep to the calling thread from now on: the texts have the others. Costs a
/// millisecond the first time, as libtorch starts its threads anew.
void use_one_torch_thread() {
  if (at::get_num_threads() != 1) at::set_num_threads(1);
}

}  // namespace

TextRun::~TextRun() = default;

TextRun::TextRun(const Request& request)
    : call_(request.call), batch_(request.texts.batch), force_(request.model.force) {
  if (!call_.records.empty()) {
    set_ = batch::RecordSet::open(call_.records);
    plan_ = set_->plan();
    config_ = parse_config(plan_.model.at("config"));
    return;
  }
  const batch::Shard shard = batch::parse_shard(batch_.shard);
  opened_ = open_folder(request.model, call_);
  config_ = opened_->config;
  source_ = open_texts(request.texts, *opened_->tokenizer, config_, call_);
  plan_ = {.command = request.command,
           .arguments = call_.arguments,
           .command_line = call_.command_line,
           .version = version,
           .commit = commit,
           .model = {{"config", read_config(opened_->folder)}, {"tokenizer", opened_->tokenizer->hash()}},
           .texts = {},
           .shard = shard};
  file_ = records_file(request.out, request.command, shard);
  look_at_texts(request);
  // A list may happen to hold one text: then there is nothing to go on with, and nothing to do at once.
  const bool one = plan_texts() == 1, list = !names_one_text(request.texts);
  require<UsageError>(
      !one || (batch_.shard.empty() && (list || (!batch_.resume && !batch_.strict && batch_.workers <= 1))),
      list ? "--shard is" : "--resume, --strict, --shard and --workers are",
      " for runs over several texts; there is one: ", plan_.texts.front().name);
  require<UsageError>(shard.count <= plan_texts(), "--shard ", batch_.shard, ": there are only ",
                      plan_texts(), " texts");
}

void TextRun::look_at_texts(const Request& request) {
  plan_.texts.resize(static_cast<size_t>(source_.size));
  const bool goes_on = source_.size > 1 && !batch_.strict;
  std::atomic<int64_t> overlapping{0};
  kernels::parallel_for(source_.size, [&](int64_t i) {
    batch::PlannedText& text = plan_.texts[static_cast<size_t>(i)];
    try {
      const TextInput input = source_.read(i);
      text = {.name = input.description,
              .tokens = std::ssize(input.tokens.ids),
              .sha256 = input.sha256,
              .failure = "",
              .bos = input.bos};
      if (input.more_articles > 0 && i + 1 < source_.size) ++overlapping;
      if (request.check) request.check(text);
    } catch (const DataError& error) {
      if (!goes_on) throw;
      if (text.name.empty()) text.name = source_.name(i);
      text.failure = error.what();
    }
  });
  const auto good = std::ranges::find(plan_.texts, "", &batch::PlannedText::failure);
  require(good != plan_.texts.end(), "none of the ", plan_texts(),
          " texts can be used; the first: ", plan_.texts.front().failure);
  if (overlapping > 0 && !call_.quiet)
    std::fprintf(
        stderr,
        "kvviz: %lld of %lld texts are shorter than --seq-len %lld and go on into the next: texts share "
        "tokens, and standard errors, which take them for independent, come out too small\n",
        static_cast<long long>(overlapping), static_cast<long long>(plan_texts()),
        static_cast<long long>(request.texts.text.seq_len));
}

void TextRun::open_records() {
  records_ =
      batch_.resume ? batch::RecordFile::resume(file_, plan_) : batch::RecordFile::create(file_, plan_);
  plan_.command_line = records_->plan().command_line;
  if (const auto aside = records_->set_aside(); !aside.empty() && !call_.quiet)
    std::fprintf(
        stderr,
        "kvviz: %s was of a run that had not ended; it is kept as %s. --resume would have gone on with it\n",
        file_.c_str(), aside.c_str());
}

int64_t TextRun::longest() const {
  return std::ranges::max(plan_.texts, {}, &batch::PlannedText::tokens).tokens;
}

int64_t TextRun::shortest() const {
  int64_t fewest = longest();
  for (const batch::PlannedText& text : plan_.texts)
    if (text.failure.empty()) fewest = std::min(fewest, text.tokens);
  return fewest;
}

int64_t TextRun::first() const {
  return std::ranges::find(plan_.texts, "", &batch::PlannedText::failure) - plan_.texts.begin();
}

void TextRun::load(const Measuring& measuring) {
  if (runner_) return;
  runner_.emplace(load_runner(std::move(*opened_), longest() + measuring.more_tokens, measuring.at_once));
  opened_.reset();
  if (!records_) return;
  const SubjectOrigin now = origin_of(*runner_);
  if (const auto before = records_->find({.stage = origin_stage})) {
    const std::string other = difference(before->get<SubjectOrigin>(), now);
    require<UsageError>(other.empty(), "--resume: ", file_.string(), " is of another model: ", other);
  } else {
    records_->add({.stage = origin_stage}, now);
  }
  // Only what is new: a job that is killed at each start would be taken for one that goes on (scripts/slurm).
  const auto weights = identities_of(runner_->model.files);
  if (records_->find({.stage = weights_stage}) != weights) records_->add({.stage = weights_stage}, weights);
}

bool TextRun::weights_changed() const {
  const auto before = records_->find({.stage = weights_stage});
  return before && find_weights(opened_->folder) && *before != identities_of(model_files(opened_->folder));
}

const Runner& TextRun::runner() {
  load({});
  return *runner_;
}

int TextRun::workers(const Measuring& measuring, int64_t texts) const {
  const int threads = kernels::thread_count();
  if (measuring.alone || texts == 1) return 1;
  const ModelMemory memory = model_memory(config_, longest() + measuring.more_tokens,
                                          measuring.at_once > 0 ? measuring.at_once : longest(), 0);
  const int64_t of_one = std::max<int64_t>(memory.total(), 1);
  if (batch_.workers > 0) {
    const int64_t asked = std::min<int64_t>(batch_.workers, texts);
    const FreeMemory free = free_for_tensors(threads);
    require(asked == 1 || force_ || asked * of_one <= free.bytes, "--workers ", batch_.workers, ": ", asked,
            " texts of up to ", longest(), " tokens at once need about ",
            size_text(static_cast<double>(asked * of_one)), " of memory beside the weights; ", free.limit,
            " leaves ", size_text(static_cast<double>(free.bytes)),
            ". Fewer workers need less; --force tries all the same");
    return static_cast<int>(asked);
  }
  if (texts < threads) return 1;
  // The estimate is of a forward pass; what is measured on the way may take several times as much.
  const int64_t fit = free_for_tensors(threads).bytes / (4 * of_one);
  return fit < threads ? 1 : threads;
}

nlohmann::json TextRun::one_text(const std::function<nlohmann::json(const Work&)>& work, int64_t index,
                                 bool quiet) {
  const at::NoGradGuard no_grad;
  return with_data_errors([&] {
    const TextInput text = source_.read(index);
    const batch::PlannedText& planned = plan_.texts[static_cast<size_t>(index)];
    require(text.sha256 == planned.sha256, planned.name, " has changed since the run began");
    return work({*runner_, text, index, quiet});
  });
}

void TextRun::measure(const Measuring& measuring, const std::function<nlohmann::json(const Work&)>& work) {
  if (merging()) return;
  require<UsageError>(
      !measuring.alone || batch_.workers <= 1, "--workers ", batch_.workers,
      ": times are taken, of one text after the other; add --no-timings, or leave the option out");
  if (plan_texts() > 1) open_records();
  std::vector<int64_t> unmeasured;
  for (int64_t i = 0; i < plan_texts(); ++i)
    if (plan_.shard.owns(i) && plan_.texts[static_cast<size_t>(i)].failure.empty() &&
        !has({i, measured_stage}))
      unmeasured.push_back(i);
  if (!unmeasured.empty() || (records_ && weights_changed())) load(measuring);
  const stats::SerialBlas serial;
  const bool one = plan_texts() == 1, goes_on = !one && !batch_.strict;
  Progress progress(measuring.doing, std::ssize(unmeasured), call_.quiet || one);
  std::mutex mutex;
  int64_t done = 0;
  std::vector<int64_t> alone;  // texts for which there was no memory beside others
  const auto body = [&](int64_t index, bool beside_others) {
    batch::RecordName name{index, measured_stage};
    nlohmann::json record;
    try {
      record = one_text(work, index, call_.quiet || !one);
    } catch (const DataError& error) {
      if (beside_others && dynamic_cast<const OutOfMemory*>(&error) != nullptr) {
        const std::lock_guard lock(mutex);
        alone.push_back(index);
        return;
      }
      if (!goes_on) throw;
      name.stage = failed_stage;
      record = error.what();
    }
    // What was measured with weights that are being written to is no record.
    require_unchanged_inputs();
    add(name, std::move(record));
    const std::lock_guard lock(mutex);
    progress.update(++done);
  };
  const int at_once = workers(measuring, std::ssize(unmeasured)), threads = kernels::thread_count();
  if (at_once <= 1) {
    for (const int64_t index : unmeasured) body(index, false);
  } else {
    kernels::set_thread_count(at_once);
    const int torch_threads = at::get_num_threads();
    kernels::parallel_for(std::ssize(unmeasured), [&](int64_t i) {
      use_one_torch_thread();
      body(unmeasured[static_cast<size_t>(i)], true);
    });
    kernels::set_thread_count(threads);
    at::set_num_threads(torch_threads);
    std::ranges::sort(alone);
    for (const int64_t index : alone) body(index, false);
  }
  failures_.reset();
  if (records_) records_->finish();
}

void TextRun::require_whole(const char* option) const {
  require<UsageError>(whole() && !merging(), option,
                      merging() ? " takes the model, and kvviz merge has records alone"
                                : " takes all texts at once; it cannot be shared out (--shard)");
}

std::vector<int64_t> TextRun::sound_texts() const {
  std::vector<int64_t> sound;
  auto failure = failures().begin();
  for (int64_t i = 0; i < plan_texts(); ++i) {
    if (failure != failures().end() && failure->index == i)
      ++failure;
    else
      sound.push_back(i);
  }
  return sound;
}

std::vector<TextInput> TextRun::texts() const {
  std::vector<TextInput> all;
  for (const int64_t i : sound_texts()) all.push_back(source_.read(i));
  return all;
}

bool TextRun::only_a_shard() const {
  if (whole()) return false;
  int64_t texts = 0, failed = 0;
  for (int64_t i = 0; i < plan_texts(); ++i) texts += plan_.shard.owns(i) ? 1 : 0;
  for (const Failure& failure : failures()) failed += plan_.shard.owns(failure.index) ? 1 : 0;
  std::printf("Shard %lld/%lld: %lld of %lld texts, %lld failed\nRecords: %s\n",
              static_cast<long long>(plan_.shard.index), static_cast<long long>(plan_.shard.count),
              static_cast<long long>(texts), static_cast<long long>(plan_texts()),
              static_cast<long long>(failed), file_.lexically_normal().c_str());
  std::printf("When all shards have ended, kvviz merge makes the result of their records.\n");
  return true;
}

std::optional<nlohmann::json> TextRun::find(const batch::RecordName& name) const {
  if (set_) return set_->find(name);
  if (records_) return records_->find(name);
  const auto at = kept_.find(name);
  return at == kept_.end() ? std::nullopt : std::optional(at->second);
}

bool TextRun::has(const batch::RecordName& name) const {
  if (set_) return set_->has(name);
  return records_ ? records_->has(name) : kept_.contains(name);
}

void TextRun::add(const batch::RecordName& name, nlohmann::json body) {
  if (records_)
    records_->add(name, body);
  else
    kept_[name] = std::move(body);
}

void TextRun::each(const std::function<void(const Record&)>& take) const {
  require(measured() > 0, "all ", plan_texts(), " texts have failed; the first, ",
          failures().empty() ? "" : failures().front().text, ": ",
          failures().empty() ? "" : failures().front().reason);
  for (int64_t i = 0; i < plan_texts(); ++i)
    if (auto body = find({i, measured_stage}))
      take({i, plan_.texts[static_cast<size_t>(i)], std::move(*body)});
}

const std::vector<TextRun::Failure>& TextRun::failures() const {
  if (failures_) return *failures_;
  failures_.emplace();
  for (int64_t i = 0; i < plan_texts(); ++i) {
    const batch::PlannedText& text = plan_.texts[static_cast<size_t>(i)];
    if (!text.failure.empty()) {
      failures_->push_back({i, text.name, text.failure});
    } else if (const auto reason = find({i, failed_stage}); reason && !has({i, measured_stage})) {
      failures_->push_back({i, text.name, reason->get<std::string>()});
    }
  }
  return *failures_;
}

SubjectOrigin TextRun::origin() const {
  SubjectOrigin origin;
  if (set_) {
    const auto all = set_->of_all(origin_stage);
    origin = all.at(0).get<SubjectOrigin>();
    for (const auto& other : all) {
      const std::string differs = difference(origin, other.get<SubjectOrigin>());
      require<UsageError>(differs.empty(), "the shards are not of one model: ", differs);
    }
  } else {
    const auto stored = records_ ? records_->find({.stage = origin_stage}) : std::nullopt;
    origin = stored ? stored->get<SubjectOrigin>() : origin_of(*runner_);
  }
  std::vector<const batch::PlannedText*> texts;
  for (const int64_t i : sound_texts()) texts.push_back(&plan_.texts[static_cast<size_t>(i)]);
  require(!texts.empty(), "all ", plan_texts(), " texts have failed");
  origin.bos = texts.front()->bos ? "on" : "off";
  origin.text = texts.front()->name;
  origin.text_sha256 = texts.front()->sha256;
  if (texts.size() == 1) return origin;
  origin.text = cat(texts.size(), " texts, ", texts.front()->name, " to ", texts.back()->name);
  std::string hashes;
  for (const batch::PlannedText* text : texts) hashes += text->sha256 + '\n';
  origin.text_sha256 = sha256(hashes);
  return origin;
}

nlohmann::ordered_json TextRun::provenance(const CallOptions& call, nlohmann::ordered_json options) const {
  CallOptions first = call;
  first.command_line = plan_.command_line;
  return provenance_of(origin(), first, std::move(options));
}

void TextRun::add_failures(Result& result, Delivery& delivery) const {
  if (plan_texts() == 1) return;
  result.summary.push_back(
      {"texts_failed", static_cast<int64_t>(failures().size()), "", "Texts that failed"});
  if (failures().empty()) return;
  Table table{.name = "failed_texts",
              .columns = {{"text", "", ColumnType::integer},
                          {"name", "", ColumnType::text},
                          {"reason", "", ColumnType::text}},
              .key = {"text"},
              .rows = {}};
  for (const Failure& failure : failures())
    table.rows.push_back({failure.index, failure.text, failure.reason});
  result.tables.push_back(std::move(table));
  if (call_.quiet) return;
  const Failure& first = failures().front();
  delivery.remark = cat(failures().size(), " of ", plan_texts(), " texts failed; the first, ", first.text,
                        ": ", first.reason, ". The table failed_texts names ",
                        failures().size() == 1 ? "it" : "them", "; --strict stops at the first");
}

}  // namespace kvviz
