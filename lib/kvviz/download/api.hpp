// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/download/http.hpp"
#include "kvviz/hub/model_name.hpp"

namespace kvviz::hub {

/// A file of a repository, as the hub lists it. What an answer leaves out stays empty.
struct RemoteFile {
  std::string name;
  std::optional<int64_t> size;
  std::string sha256;    ///< of large files (Git LFS): 64 hexadecimal digits
  std::string git_blob;  ///< SHA-1 of "blob <size>\0" and the contents, of the others: 40 digits
};

struct ModelInfo {
  std::string id;      ///< as the hub spells it; another than asked for when it was renamed
  std::string commit;  ///< 40 hexadecimal digits
  std::string gated;   ///< "", auto, manual: its page must be accepted first
  std::vector<RemoteFile> files;
  // For people, printable(); empty where the hub does not tell.
  std::string author, pipeline, license;
  std::vector<std::string> tags;
  std::optional<int64_t> downloads, likes;  ///< downloads of the last 30 days
};

/// GET /api/models/{id}/revision/{revision}?blobs=true. Throws DataError that says what the hub refuses and
/// what to do (no such model or revision, gated, token not accepted), or that the answer is not a hub's.
ModelInfo model_info(HttpClient& client, const ModelName& name);

struct SearchOptions {
  std::string query;
  int64_t limit = 20;
  std::string sort = "downloads";          ///< downloads, likes, lastModified, createdAt, trendingScore
  std::string filter = "text-generation";  ///< a tag; empty: any
};

struct FoundModel {
  std::string id;
  std::optional<int64_t> downloads, likes;  ///< downloads of the last 30 days
  std::string gated;                        ///< "", auto, manual
  std::string updated;                      ///< date, YYYY-MM-DD; may be empty
};

/// GET /api/models?search=... Text for people is made printable(). Throws as model_info().
std::vector<FoundModel> search_models(HttpClient& client, const SearchOptions& options);

/// What the hub's refusal of a model's file or page means, and what to do.
std::string refusal_text(const Reply& reply, const ModelName& name, const HttpSettings& settings);

/// /{id}/resolve/{commit}/{file}, percent-encoded.
std::string file_target(const std::string& id, const std::string& commit, const std::string& file);

/// Throws DataError unless `name` is safe as a path below a folder, on every system: relative, parts between
/// slashes neither empty, "." nor "..", no backslash, colon or control character, at most 200 bytes a part
/// and 1000 in all.
void check_file_name(const std::string& name);

}  // namespace kvviz::hub
