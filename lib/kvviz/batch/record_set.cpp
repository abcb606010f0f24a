// SPDX-License-Identifier: MIT
#include "kvviz/batch/record_set.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"

namespace kvviz::batch {
namespace fs = std::filesystem;
namespace {

constexpr int64_t shown = 20;

/// "1, 4, 7 and 5 more": the first of `count`.
std::string list_of(const std::vector<int64_t>& numbers, int64_t count) {
  std::string list;
  for (const int64_t number : numbers) list += cat(list.empty() ? "" : ", ", number);
  return count > std::ssize(numbers) ? cat(list, " and ", count - std::ssize(numbers), " more") : list;
}

void require_all(const std::vector<RecordFile>& files) {
  const Plan& first = files.front().plan();
  const int64_t count = first.shard.count - std::ssize(files);
  std::vector<int64_t> missing;  // the first of them
  size_t next = 0;
  for (int64_t shard = 0; std::ssize(missing) < std::min(count, shown); ++shard) {
    if (next < files.size() && files[next].plan().shard.index == shard)
      ++next;
    else
      missing.push_back(shard);
  }
  require(count == 0, count == 1 ? "shard " : "shards ", list_of(missing, count), " of ", first.shard.count,
          count == 1 ? " is" : " are", " missing; kvviz ", first.command, " ... --shard ",
          missing.empty() ? 0 : missing.front(), "/", first.shard.count, " measures ",
          count == 1 ? "it" : "the first of them");
  for (const RecordFile& file : files)
    require(file.finished(), file.path().string(), " is not finished: ", file.texts(),
            " texts have records. Its run goes on with --resume");
}

}  // namespace

RecordSet RecordSet::open(std::span<const fs::path> paths) {
  std::vector<RecordFile> files;
  for (const fs::path& path : paths) files.push_back(RecordFile::read(path));
  require<UsageError>(!files.empty(), "no records file is given");
  std::ranges::stable_sort(files, {}, [](const RecordFile& file) { return file.plan().shard.index; });
  const RecordFile& first = files.front();
  for (size_t i = 1; i < files.size(); ++i) {
    const Plan &a = first.plan(), &b = files[i].plan();
    std::string other = difference(first.stored_plan(), files[i].stored_plan());
    if (other.empty() && a.shard.count != b.shard.count)
      other = cat("one of ", a.shard.count, " shards, and one of ", b.shard.count);
    require<UsageError>(other.empty(), first.path().string(), " and ", files[i].path().string(),
                        " are not of one run: ", other);
    require<UsageError>(files[i - 1].plan().shard.index != b.shard.index, files[i - 1].path().string(),
                        " and ", files[i].path().string(), " both hold shard ", b.shard.index,
                        "; give one of them");
  }
  require_all(files);
  return RecordSet(std::move(files));
}

RecordSet::RecordSet(std::vector<RecordFile> files) : files_(std::move(files)), plan_(files_.front().plan()) {
  plan_.texts.clear();
  for (int64_t i = 0; i < files_.front().stored_plan().text_count; ++i) {
    const auto text = static_cast<size_t>(i);
    plan_.texts.push_back(files_[text % files_.size()].plan().texts[text / files_.size()]);
  }
  plan_.shard = {};
}

const RecordFile& RecordSet::file_of(const RecordName& name) const {
  const int64_t shard = name.text < 0 ? 0 : name.text % std::ssize(files_);
  return files_[static_cast<size_t>(shard)];
}

std::optional<nlohmann::json> RecordSet::find(const RecordName& name) const {
  return file_of(name).find(name);
}

std::vector<nlohmann::json> RecordSet::of_all(const std::string& stage) const {
  std::vector<nlohmann::json> all;
  for (const RecordFile& file : files_)
    if (auto record = file.find({.text = -1, .stage = stage})) all.push_back(std::move(*record));
  return all;
}

std::vector<fs::path> find_record_files(std::span<const fs::path> paths) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    if (!fs::is_directory(path)) {
      require(fs::exists(path), path.string(), " does not exist");
      files.push_back(path);
      continue;
    }
    std::vector<fs::path> found;
    for (const fs::path& folder : {path, path / "results"})
      if (fs::is_directory(folder))
        for (const auto& entry : fs::directory_iterator(folder))
          if (entry.path().extension() == ".records") found.push_back(entry.path());
    require(!found.empty(), path.string(), " holds no *.records file, nor does its results/");
    std::ranges::sort(found);
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

}  // namespace kvviz::batch
