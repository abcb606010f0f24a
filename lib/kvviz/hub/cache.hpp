// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kvviz/hub/model_name.hpp"

namespace kvviz::hub {

/// The cache is that of Python's huggingface_hub, in both directions:
///
///   models--owner--name/blobs/<etag>               the contents; <etag>.incomplete while they come
///                      /refs/<revision>            text: the commit that a branch or tag stood at
///                      /snapshots/<commit>/<file>  a relative link to ../../blobs/<etag>
///   .locks/models--owner--name/<etag>.lock
///
/// Anything else in it (`.no_exist`, datasets, version files) is left alone.

struct CachedRevision {
  std::string commit;
  std::vector<std::string> refs;  ///< branches and tags that stand at it
  int64_t files = 0, bytes = 0;   ///< of its files; a content that two revisions share counts in both
  int64_t missing = 0;            ///< files whose content is not there, and absent parts of GGUF models
  bool weights = false;           ///< whether there is a file of weights
  std::string model_type;  ///< of config.json; "GGUF" where there is none but such a file; may be empty
  std::filesystem::file_time_type updated;
};

struct CachedModel {
  std::string id;
  std::filesystem::path folder;
  std::vector<CachedRevision> revisions;  ///< newest first
  int64_t bytes = 0;                      ///< on disk, each content once, what is incomplete included
  int64_t incomplete = 0;                 ///< bytes of downloads that were broken off
};

/// The models of a cache by id; empty when there is no such folder. What cannot be read is left out. Cost: a
/// look at each file's size.
std::vector<CachedModel> cached_models(const std::filesystem::path& cache);

/// The folder of a model's revision. Throws DataError saying what is there and how to download it.
std::filesystem::path snapshot_folder(const std::filesystem::path& cache, const ModelName& name);

/// What to open for a model's name: its snapshot_folder(), or a GGUF file in it when the name asks for one or
/// the folder has no other weights. Throws as snapshot_folder() and choose_gguf().
std::filesystem::path cached_model_path(const std::filesystem::path& cache, const ModelName& name);

struct RemovedModel {
  std::filesystem::path folder;
  int64_t bytes = 0;
};

/// Removes a model with all its revisions. Links are removed, never followed; its folder itself must not be
/// one. Throws DataError when the model is not there, is being downloaded, or cannot be removed.
RemovedModel remove_model(const std::filesystem::path& cache, const std::string& id);

}  // namespace kvviz::hub
