// SPDX-License-Identifier: MIT
#include "kvviz/batch/record_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/file_lock.hpp"
#include "kvviz/core/sha256.hpp"

namespace kvviz::batch {
namespace fs = std::filesystem;
namespace {

static_assert(std::endian::native == std::endian::little, "lengths are written as they stand in memory");

constexpr std::string_view magic = "kvviz records 1\n";
constexpr const char* plan_stage = "plan";
constexpr const char* finished_stage = "finished";

using Clock = std::chrono::steady_clock;
constexpr Clock::duration between_syncs = std::chrono::seconds(5);

/// Before each record's CBOR.
struct Header {
  uint64_t size = 0;  ///< bytes of the record
  int64_t text = 0;
  std::array<char, 16> stage{};
  std::array<char, 16> check{};  ///< first digits of the SHA-256 of the three above and the record
};
static_assert(sizeof(Header) == 48);

std::array<char, 16> check_of(const Header& header, const std::string& bytes) {
  std::string all(reinterpret_cast<const char*>(&header), offsetof(Header, check));
  all += bytes;
  const std::string digits = sha256(all);
  std::array<char, 16> check{};
  std::copy_n(digits.begin(), check.size(), check.begin());
  return check;
}

/// A file descriptor that closes itself.
class File {
 public:
  File(const fs::path& path, int flags) : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    require(descriptor_ >= 0, "cannot open ", path.string(), ": ", std::strerror(errno));
  }
  ~File() { ::close(descriptor_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }
  int64_t size() const {
    struct stat about {};
    return fstat(descriptor_, &about) == 0 ? about.st_size : 0;
  }
  /// False where the file ends before.
  bool read(char* to, size_t size, int64_t at) const {
    while (size > 0) {
      const ssize_t got = ::pread(descriptor_, to, size, at);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      to += got, at += got, size -= static_cast<size_t>(got);
    }
    return true;
  }

 private:
  int descriptor_;
};

struct Place {
  int64_t at = 0;  ///< of the record's CBOR
  uint64_t size = 0;
};

enum class Block { whole, torn, damaged };

/// The block at `at`: its header, and its record where `bytes` is not null.
Block read_block(const File& file, int64_t at, Header& header, std::string& bytes) {
  const int64_t left = file.size() - at - static_cast<int64_t>(sizeof header);
  if (left < 0 || !file.read(reinterpret_cast<char*>(&header), sizeof header, at)) return Block::torn;
  if (header.size > static_cast<uint64_t>(left)) return Block::torn;
  bytes.resize(header.size);
  if (!file.read(bytes.data(), bytes.size(), at + static_cast<int64_t>(sizeof header))) return Block::torn;
  return check_of(header, bytes) == header.check ? Block::whole : Block::damaged;
}

nlohmann::json decoded(const std::string& bytes, const fs::path& path) {
  try {
    return nlohmann::json::from_cbor(bytes);
  } catch (const nlohmann::json::exception& error) {
    throw DataError(cat(path.string(), ": damaged: ", error.what()));
  }
}

std::string stage_of(const Header& header) {
  return {header.stage.data(), strnlen(header.stage.data(), header.stage.size())};
}

void require_magic(const File& file, const fs::path& path) {
  std::array<char, magic.size()> start{};
  require(file.read(start.data(), start.size(), 0) && std::string_view(start.data(), start.size()) == magic,
          path.string(), " is not a records file of kvviz, or of another version");
}

/// Whether the run was cut off before its plan stood in the file.
bool has_torn_plan(const File& file) {
  Header header;
  std::string bytes(magic.size(), '\0');
  if (!file.read(bytes.data(), bytes.size(), 0))
    return magic.starts_with(bytes.substr(0, static_cast<size_t>(file.size())));
  return bytes == magic && read_block(file, magic.size(), header, bytes) == Block::torn;
}

StoredPlan first_plan(const File& file, const fs::path& path) {
  require_magic(file, path);
  Header header;
  std::string bytes;
  const Block block = read_block(file, magic.size(), header, bytes);
  require(block == Block::whole && stage_of(header) == plan_stage, path.string(),
          " is damaged: its plan is not whole. Without --resume the run begins again");
  return plan_from_json(decoded(bytes, path), path.string());
}

FileLock lock_for_writing(const fs::path& path) {
  auto lock = FileLock::if_free(path);
  require(lock.has_value(), path.string(), " is being written by another run of kvviz; give another --out");
  return std::move(*lock);
}

}  // namespace

struct RecordFile::State {
  State(fs::path where, int flags) : path(std::move(where)), file(std::in_place, path, flags) {}

  ~State() {
    if (!writing) return;
    // Nothing was measured: the file would only be in the way.
    const bool some = std::ranges::any_of(records, [](const auto& record) {
      return record.first.text >= 0 || record.first.stage == finished_stage;
    });
    if (!some) ::unlink(path.c_str());
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  /// Every whole block from `end` on. Returns what the first that is not whole is.
  Block scan() {
    Header header;
    std::string bytes;
    Block block = Block::whole;
    while (end < file->size() && (block = read_block(*file, end, header, bytes)) == Block::whole) {
      const int64_t at = end + static_cast<int64_t>(sizeof header);
      records[{header.text, stage_of(header)}] = {at, header.size};
      end = at + static_cast<int64_t>(header.size);
    }
    return block;
  }

  void append(const char* bytes, size_t size, int64_t at) {
    const int64_t before = at;
    while (size > 0) {
      const ssize_t done = ::pwrite(file->get(), bytes, size, at);
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) {
        const int error = done == 0 ? ENOSPC : errno;
        [[maybe_unused]] const int cut = ::ftruncate(file->get(), before);
        throw DataError(cat("cannot write ", path.string(), ": ", std::strerror(error),
                            ". What was measured so far is in it; with --resume the run goes on"));
      }
      bytes += done, at += done, size -= static_cast<size_t>(done);
    }
  }

  /// A later plan block counts: that of a run that could read more texts.
  void take_later_plan() {
    const auto at = records.find({.text = -1, .stage = plan_stage});
    if (at == records.end() || at->second.at == static_cast<int64_t>(magic.size() + sizeof(Header))) return;
    std::string bytes(at->second.size, '\0');
    require(file->read(bytes.data(), bytes.size(), at->second.at), "cannot read ", path.string());
    plan = plan_from_json(decoded(bytes, path), path.string());
  }

  fs::path path, set_aside{};
  std::optional<File>
      file;  ///< none of what is only read: there may be more shards than open files are allowed
  bool writing = false;
  std::optional<FileLock> lock{};
  StoredPlan plan{};
  std::map<RecordName, Place> records{};
  int64_t end = 0;
  Clock::time_point synced = Clock::now();
  std::mutex mutex{};
};

RecordFile::RecordFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
RecordFile::~RecordFile() = default;
RecordFile::RecordFile(RecordFile&&) noexcept = default;
RecordFile& RecordFile::operator=(RecordFile&&) noexcept = default;

namespace {

/// Whether the file has a record of a text and its run has not ended.
bool unfinished(const fs::path& path) {
  try {
    const RecordFile file = RecordFile::read(path);
    return !file.finished() && file.texts() > 0;
  } catch (const DataError&) {
    return false;
  }
}

}  // namespace

RecordFile RecordFile::begin(const fs::path& path, FileLock lock, const Plan& plan, fs::path set_aside) {
  auto state = std::make_unique<State>(path, O_RDWR | O_CREAT | O_TRUNC);
  state->lock.emplace(std::move(lock));
  state->writing = true;
  state->plan = stored(plan);
  state->set_aside = std::move(set_aside);
  state->append(magic.data(), magic.size(), 0);
  state->end = magic.size();
  RecordFile file(std::move(state));
  file.add({.stage = plan_stage}, to_json(plan));
  return file;
}

RecordFile RecordFile::create(const fs::path& path, const Plan& plan) {
  fs::create_directories(path.parent_path());
  FileLock lock = lock_for_writing(path);
  if (!unfinished(path)) return begin(path, std::move(lock), plan);
  fs::path aside = path.string() + ".old";
  for (int i = 2; fs::exists(aside); ++i) aside = cat(path.string(), ".old", i);
  fs::rename(path, aside);
  return begin(path, lock_for_writing(path), plan, std::move(aside));
}

RecordFile RecordFile::resume(const fs::path& path, const Plan& plan) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return create(path, plan);
  FileLock lock = lock_for_writing(path);
  auto state = std::make_unique<State>(path, O_RDWR);
  if (has_torn_plan(*state->file)) return begin(path, std::move(lock), plan);
  state->plan = first_plan(*state->file, path);
  state->end = magic.size();
  state->scan();
  state->take_later_plan();
  StoredPlan now = stored(plan);
  const std::string other = difference(state->plan, now);
  const bool more_texts = !other.empty() && only_failed_texts_differ(state->plan, now);
  require<UsageError>((other.empty() || more_texts) && state->plan.plan.shard == plan.shard,
                      "--resume: ", path.string(),
                      " is of another run: ", other.empty() ? "another shard" : other,
                      ". Give the same options again, another --out, or no --resume to begin anew");
  require(::ftruncate(state->file->get(), state->end) == 0, "cannot write ", path.string(), ": ", errno_text);
  state->lock.emplace(std::move(lock));
  state->writing = true;
  RecordFile file(std::move(state));
  if (more_texts) {
    now.plan.command_line = file.plan().command_line;
    file.add({.stage = plan_stage}, to_json(now.plan));
    file.state_->plan = std::move(now);
  }
  return file;
}

RecordFile RecordFile::read(const fs::path& path) {
  auto state = std::make_unique<State>(path, O_RDONLY);
  state->plan = first_plan(*state->file, path);
  state->end = magic.size();
  require(state->scan() != Block::damaged, path.string(), " is damaged at byte ", state->end,
          ": the checksum of a record is another. With --resume its run goes on from there");
  state->take_later_plan();
  state->file.reset();
  return RecordFile(std::move(state));
}

const fs::path& RecordFile::path() const {
  return state_->path;
}

const fs::path& RecordFile::set_aside() const {
  return state_->set_aside;
}

const StoredPlan& RecordFile::stored_plan() const {
  return state_->plan;
}

void RecordFile::add(const RecordName& name, const nlohmann::json& body) {
  Header header{.text = name.text};
  if (name.stage.size() >= header.stage.size()) throw std::logic_error("the stage's name is too long");
  name.stage.copy(header.stage.data(), name.stage.size());
  std::string bytes;
  nlohmann::json::to_cbor(body, bytes);
  header.size = bytes.size();
  header.check = check_of(header, bytes);
  bytes.insert(0, reinterpret_cast<const char*>(&header), sizeof header);
  const std::lock_guard lock(state_->mutex);
  state_->append(bytes.data(), bytes.size(), state_->end);
  state_->records[name] = {state_->end + static_cast<int64_t>(sizeof header), header.size};
  state_->end += std::ssize(bytes);
  if (Clock::now() - state_->synced < between_syncs) return;
  state_->synced = Clock::now();
  require(::fdatasync(state_->file->get()) == 0, "cannot write ", path().string(), ": ", errno_text);
}

bool RecordFile::has(const RecordName& name) const {
  const std::lock_guard lock(state_->mutex);
  return state_->records.contains(name);
}

std::optional<nlohmann::json> RecordFile::find(const RecordName& name) const {
  Place place;
  {
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->records.find(name);
    if (at == state_->records.end()) return std::nullopt;
    place = at->second;
  }
  std::string bytes(place.size, '\0');
  const auto read = [&](const File& file) { return file.read(bytes.data(), bytes.size(), place.at); };
  require(state_->file ? read(*state_->file) : read(File(path(), O_RDONLY)), "cannot read ", path().string());
  return decoded(bytes, path());
}

int64_t RecordFile::texts() const {
  const std::lock_guard lock(state_->mutex);
  int64_t count = 0, last = -1;
  for (const auto& [name, place] : state_->records) {
    count += name.text > last ? 1 : 0;
    last = std::max(last, name.text);
  }
  return count;
}

bool RecordFile::finished() const {
  return has({.stage = finished_stage});
}

void RecordFile::finish() {
  if (!finished()) add({.stage = finished_stage}, true);
  require(::fsync(state_->file->get()) == 0, "cannot write ", path().string(), ": ", errno_text);
}

StoredPlan read_plan(const fs::path& path) {
  return first_plan(File(path, O_RDONLY), path);
}

}  // namespace kvviz::batch
