// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvviz/batch/shard.hpp"

namespace kvviz::batch {

/// A text of a run, as it was found before the run.
struct PlannedText {
  std::string name;  ///< "WikiText article 3, Robert Boulter"
  int64_t tokens = 0;
  std::string sha256;   ///< of its token ids; empty: it could not be read
  std::string failure;  ///< why not
  bool bos = false;
  bool operator==(const PlannedText&) const = default;
};

/// What a run is. Runs may go on with each other's records, and shards belong together, where all of this but
/// the shard and the command line is the same.
struct Plan {
  std::string command;                 ///< "sinks"
  std::vector<std::string> arguments;  ///< what it computes: "--samples=0-9"; neither how nor where to
  std::string command_line;            ///< as typed, without what tells shards and attempts apart
  std::string version, commit;         ///< of the kvviz that runs it
  nlohmann::json model;                ///< its configuration and what the command knows of it before the run
  std::vector<PlannedText> texts;      ///< of all shards
  Shard shard;
};

/// The plan for a file: of the texts, those of its shard and a hash of all, so that a thousand shards do not
/// hold the whole list a thousand times.
nlohmann::json to_json(const Plan& plan);

/// A plan as it stands in its file.
struct StoredPlan {
  Plan plan;                 ///< its texts are those of its shard alone
  int64_t text_count = 0;    ///< of all shards
  std::string texts_sha256;  ///< of all texts
};
StoredPlan stored(Plan plan);
/// Throws DataError naming `source` and what is wrong.
StoredPlan plan_from_json(const nlohmann::json& json, const std::string& source);

/// What keeps `b` from going on with `a`, or from being merged with it, for a reader: "the options
/// --samples=0-9, and no option"; empty: nothing.
std::string difference(const StoredPlan& a, const StoredPlan& b);
/// Whether all that differs are texts that could not be read when `before` was made. (Of a run that was not
/// shared out: a shard does not know the texts of others.)
bool only_failed_texts_differ(const StoredPlan& before, const StoredPlan& now);

}  // namespace kvviz::batch
