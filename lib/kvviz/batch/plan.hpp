// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvviz/batch/shard.hpp"

namespace kvviz::batch {

/// Of a run; a damaged plan that claims more is refused before memory is asked for.
inline constexpr int64_t most_texts = int64_t{1} << 22;

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
  std::vector<PlannedText> texts;      ///< of all shards; read from a shard's file: others' are empty
  Shard shard;
};

/// The plan for a file: of the texts, those of its shard and a hash of all, so that a thousand shards do not
/// hold the whole list a thousand times. Throws DataError for more than `most_texts`.
nlohmann::json to_json(const Plan& plan);
/// SHA-256 of all texts of the plan, which must be there.
std::string hash_of_texts(const std::vector<PlannedText>& texts);

/// A plan from its file.
struct StoredPlan {
  Plan plan;
  std::string texts_sha256;  ///< hash_of_texts() of the run
};
/// Throws DataError naming `source` and what is wrong.
StoredPlan plan_from_json(const nlohmann::json& json, const std::string& source);

/// What keeps `b` from going on with `a`, or from being merged with it, for a reader: "the options
/// --samples=0-9, and no option"; empty: nothing.
std::string difference(const StoredPlan& a, const StoredPlan& b);

}  // namespace kvviz::batch
