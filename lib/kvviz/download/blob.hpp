// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "kvviz/download/api.hpp"
#include "kvviz/download/http.hpp"

namespace kvviz::hub {

/// One file of a model: where its contents are at the hub, and in the cache.
struct Blob {
  std::string file;            ///< in the repository
  std::string target;          ///< of the request
  std::string hash;            ///< of its contents (BlobHash), and its name in blobs/
  int64_t size = 0;            ///< bytes
  std::filesystem::path path;  ///< blobs/<hash>; <path>.incomplete while it arrives
  std::filesystem::path lock;

  std::filesystem::path incomplete() const { return path.string() + ".incomplete"; }
};

/// Asks the hub for a file's hash (ETag) and size (HEAD), and puts them against what it listed. Throws
/// DataError when it refuses, or when no hash of the contents is known, without which they could not be
/// checked.
Blob locate_blob(HttpClient& client, const ModelName& name, const ModelInfo& info, const RemoteFile& file,
                 const std::filesystem::path& cache);

/// Called with bytes that are done (negative: thrown away).
using BytesDone = std::function<void(int64_t)>;

/// The blob whole and checked at its path; returns the bytes that were transferred, 0 when it was there.
/// Continues an incomplete download; a connection that is cut is taken up again, as often as it brings
/// something. Contents of another hash or size are removed and downloaded once more, then it is an error.
/// `path` appears by renaming a file that was checked. Throws DataError; what is correct so far stays for the
/// next time.
int64_t fetch_blob(HttpClient& client, const ModelName& name, const Blob& blob, const BytesDone& done);

/// Removes the blob of `path` when its contents have not the blob's hash; returns whether they have.
bool keep_if_correct(const Blob& blob);

}  // namespace kvviz::hub
