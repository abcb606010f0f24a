// SPDX-License-Identifier: MIT
#include "kvviz/download/blob.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <vector>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/file_lock.hpp"
#include "kvviz/download/blob_hash.hpp"

namespace kvviz::hub {
namespace {

namespace fs = std::filesystem;

constexpr int most_requests = 1000;  // for one file: each brings something

// W/"abc" and "abc" are abc.
std::string plain_etag(std::string text) {
  if (text.starts_with("W/")) text.erase(0, 2);
  std::erase(text, '"');
  return text;
}

std::optional<int64_t> parse_count(const std::string& text) {
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  const bool whole = !text.empty() && error == std::errc{} && end == text.data() + text.size() && count >= 0;
  return whole ? std::optional(count) : std::nullopt;
}

// The first byte of "bytes 100-199/200".
std::optional<int64_t> range_begin(const std::string& text) {
  const size_t dash = text.find('-');
  return text.starts_with("bytes ") && dash != std::string::npos ? parse_count(text.substr(6, dash - 6))
                                                                 : std::nullopt;
}

int64_t size_of(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  return error ? -1 : static_cast<int64_t>(size);
}

void remove_file(const fs::path& file) {
  std::error_code ignored;
  fs::remove(file, ignored);
}

// The file that grows, with the hash of what it holds.
class Growing {
 public:
  Growing(const Blob& blob, BytesDone done) : blob_(blob), done_(std::move(done)) {
    file_ = blob.incomplete();
    fs::create_directories(file_.parent_path());
    descriptor_ = open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    require(descriptor_ >= 0, "cannot write ", file_.string(), ": ", errno_text);
    read_begin();
  }
  ~Growing() { close(descriptor_); }
  Growing(const Growing&) = delete;
  Growing& operator=(const Growing&) = delete;

  int64_t size() const { return size_; }

  // False, and nothing is taken, where the file would be longer than it is.
  bool add(std::string_view bytes) {
    too_long_ = size_ + static_cast<int64_t>(bytes.size()) > blob_.size;
    if (too_long_) return false;
    for (std::string_view rest = bytes; !rest.empty();) {
      const ssize_t written = write(descriptor_, rest.data(), rest.size());
      require(written > 0 || errno == EINTR, "cannot write ", file_.string(), ": ", errno_text,
              "; what has arrived is kept for the next try");
      rest.remove_prefix(static_cast<size_t>(std::max<ssize_t>(written, 0)));
    }
    hash_->add(bytes);
    size_ += static_cast<int64_t>(bytes.size());
    done_(static_cast<int64_t>(bytes.size()));
    return true;
  }

  bool too_long() const { return too_long_; }

  void restart() {
    require(ftruncate(descriptor_, 0) == 0 && lseek(descriptor_, 0, SEEK_SET) == 0, "cannot write ",
            file_.string(), ": ", errno_text);
    done_(-size_);
    size_ = 0;
    hash_.emplace(blob_.hash, blob_.size);
  }

  // Call once, at the end.
  bool is_correct() { return !too_long_ && size_ == blob_.size && hash_->finish() == blob_.hash; }

  void keep() {
    require(fsync(descriptor_) == 0, "cannot write ", file_.string(), ": ", errno_text);
    std::error_code error;
    fs::rename(file_, blob_.path, error);
    require(!error, "cannot write ", blob_.path.string(), ": ", error.message());
  }

 private:
  void read_begin() {
    hash_.emplace(blob_.hash, blob_.size);
    read_blocks(descriptor_, file_, [&](std::string_view block) {
      hash_->add(block);
      size_ += std::ssize(block);
    });
    done_(size_);
    if (size_ > blob_.size) restart();
  }

  const Blob& blob_;
  BytesDone done_;
  fs::path file_;
  int descriptor_ = -1;
  int64_t size_ = 0;
  bool too_long_ = false;
  std::optional<BlobHash> hash_;
};

struct Attempt {
  int64_t received = 0;
  Reply reply;  ///< status 0: the connection was cut
};

// One request for what is missing. The bytes of an answer that does not fit are not taken.
Attempt request_rest(HttpClient& client, const Blob& blob, Growing& file) {
  Attempt attempt;
  const int64_t first = file.size();
  Receiver receiver;
  receiver.start = [&](const Reply& head) {
    if (head.status == 206) return first > 0 && range_begin(head.header("content-range")) == first;
    if (first > 0) file.restart();
    return head.status == 200;
  };
  receiver.part = [&](std::string_view bytes) {
    attempt.received += static_cast<int64_t>(bytes.size());
    return file.add(bytes);
  };
  try {
    attempt.reply = client.download(blob.target, first, receiver);
  } catch (const ConnectionError&) {
    if (attempt.received == 0) throw;
  }
  return attempt;
}

std::string unfinished_text(const Blob& blob, const Attempt& attempt, const ModelName& name,
                            const HttpSettings& settings) {
  const std::string type = attempt.reply.header("content-type");
  const bool answered = attempt.reply.status / 100 == 2;
  return cat(blob.file, ": ",
             answered ? cat("the hub sends ", attempt.received, " bytes where ", blob.size, " belong",
                            type.empty() ? "" : " (" + printable(type, 60) + ")")
             : attempt.reply.status == 0 ? "the connection is cut again and again"
                                         : refusal_text(attempt.reply, name, settings));
}

// Fills the file up to its size or beyond; returns the bytes that came. Tries in a row that brought it no
// further count.
int64_t fill(HttpClient& client, const ModelName& name, const Blob& blob, Growing& file) {
  int64_t received = 0, furthest = file.size();
  int failures = 0;
  for (int requests = 0; file.size() < blob.size && !file.too_long(); ++requests) {
    const bool last = failures + 1 >= client.settings().tries || requests >= most_requests;
    Attempt attempt;
    try {
      attempt = request_rest(client, blob, file);
    } catch (const ConnectionError& error) {
      require(!last, blob.file, ": ", error.what(), "; what has arrived is kept, the next pull goes on");
    }
    received += attempt.received;
    if (file.size() >= blob.size || file.too_long()) break;
    failures = file.size() > furthest ? 0 : failures + 1;
    furthest = std::max(furthest, file.size());
    const int status = attempt.reply.status;
    if (status == 416 || (status == 206 && attempt.received == 0)) file.restart();  // from the beginning
    const bool again = status == 0 || is_passing(status) || status == 416 || status / 100 == 2;
    if (!again || last) throw DataError(unfinished_text(blob, attempt, name, client.settings()));
    client.pause(std::max(failures, 1), status == 0 ? nullptr : &attempt.reply);
  }
  return received;
}

}  // namespace

Blob locate_blob(HttpClient& client, const ModelName& name, const ModelInfo& info, const RemoteFile& file,
                 const fs::path& cache) {
  check_file_name(file.name);
  Blob blob{.file = file.name, .target = file_target(name.id, info.commit, file.name)};
  const Reply reply = client.head(blob.target);
  if (reply.status / 100 != 2 && reply.status / 100 != 3)
    throw DataError(
        cat(reply.status == 404 ? file.name + ": " : "", refusal_text(reply, name, client.settings())));
  const std::string commit = reply.header("x-repo-commit"),
                    listed = file.sha256.empty() ? file.git_blob : file.sha256;
  require(commit.empty() || commit == info.commit, file.name, ": the hub answers with commit ",
          printable(commit, 60), ", expected ", info.commit, "; try again");
  const auto linked = reply.header("x-linked-etag"), size = reply.header("x-linked-size");
  const std::string etag = plain_etag(linked.empty() ? reply.header("etag") : linked);
  // What the hub lists decides; an ETag that is not its own (a mirror's, a proxy's) may be anything.
  const bool told_hash = is_blob_hash(etag) && (listed.empty() || !linked.empty());
  blob.hash = told_hash ? etag : listed;
  require(!blob.hash.empty(), file.name, ": the hub tells no hash of its contents (ETag '",
          printable(etag, 80), "'), so that they could not be checked; nothing was downloaded");
  require(listed.empty() || listed == blob.hash, file.name,
          ": the hub contradicts itself: it lists the hash ", listed, " and answers with ", blob.hash);
  const bool redirected = reply.status / 100 == 3;
  const auto told = parse_count(size.empty() && !redirected ? reply.header("content-length") : size);
  require(told || file.size, file.name, ": the hub does not tell its size");
  require(!told || !file.size || *told == *file.size, file.name, ": the hub contradicts itself: it lists ",
          file.size.value_or(0), " bytes and answers with ", told.value_or(0));
  blob.size = told ? *told : *file.size;
  const std::string folder = folder_of_id(name.id);
  blob.path = cache / folder / "blobs" / blob.hash;
  blob.lock = cache / ".locks" / folder / (blob.hash + ".lock");
  return blob;
}

int64_t fetch_blob(HttpClient& client, const ModelName& name, const Blob& blob, const BytesDone& done) {
  const FileLock lock(blob.lock, [&] { client.check_stop(); });
  if (size_of(blob.path) == blob.size) {
    done(blob.size);
    return 0;
  }
  int64_t received = 0;
  for (int round = 0; round < 2; ++round) {
    {
      Growing file(blob, done);
      try {
        received += fill(client, name, blob, file);
      } catch (...) {
        if (file.size() == 0) remove_file(blob.incomplete());
        throw;
      }
      if (file.is_correct()) {
        file.keep();
        return received;
      }
      file.restart();
      remove_file(blob.incomplete());
    }
  }
  throw DataError(cat(blob.file, ": what arrives is not the file: its ",
                      blob.hash.size() == 64 ? "SHA-256" : "git hash", " or its size is not that of ",
                      blob.hash, ", twice; nothing of it was kept"));
}

bool keep_if_correct(const Blob& blob) {
  if (size_of(blob.path) < 0) return false;
  BlobHash hash(blob.hash, blob.size);
  read_blocks(blob.path, [&](std::string_view block) { hash.add(block); });
  if (hash.finish() == blob.hash) return true;
  remove_file(blob.path);
  return false;
}

}  // namespace kvviz::hub
