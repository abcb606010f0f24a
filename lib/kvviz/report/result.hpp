// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "kvviz/report/table.hpp"

namespace kvviz {

/// The schema of result files: docs/result_file.md.
inline constexpr int result_schema = 1;

/// One number (or word) of a result's summary.
struct Fact {
  std::string key;         ///< letters, digits and _: the name in JSON and --fail-if
  Cell value;              ///< what does not exist says why
  std::string unit = "";   ///< as in Column
  std::string label = "";  ///< what a reader sees: "Heads that look at the first token"
};

struct FigureFile {
  std::string path;  ///< relative to the output folder: "graphs/layers/layer_statistics.png"
  std::string title;
};

/// What a command found.
struct Result {
  std::string command;  ///< "analyze"
  /// Version, commit, command line, effective options, model, tokenizer and text with their hashes, dtype,
  /// device, threads, seed; the caller's keys in the caller's order.
  nlohmann::ordered_json provenance = nlohmann::ordered_json::object();
  std::vector<Fact> summary;
  std::vector<Table> tables;
  std::vector<FigureFile> figures;
  std::string arrays =
      "";  ///< the HDF5 file with the large arrays, relative to the output folder; empty: none
};

/// The result file: keys in a fixed order, one table row per line, finite numbers or null with a reason, "\n"
/// at the end. The same result gives the same bytes, on every locale. Bytes that are not UTF-8 become U+FFFD.
/// Throws std::logic_error when a table is not valid or a name is repeated: results are made by kvviz.
std::string to_json(const Result& result);

/// A result from the text of its file. Throws DataError naming `source` and what is wrong: not JSON, a newer
/// schema, a missing or mistyped part.
Result result_from_json(const std::string& text, const std::string& source);

/// The fact or table of the name; null: there is none.
const Fact* find_fact(const Result& result, std::string_view key);
const Table* find_table(const Result& result, std::string_view name);

struct ResultFiles {
  bool csv = false;  ///< also one CSV file per table
  /// Further files that a result may have, relative to the folder; empty: none.
  std::function<std::vector<std::filesystem::path>(const Result&)> more{};
};

/// Removes the figures, CSV tables and further files of the result which `folder` has of this command and
/// that are none of this one, where that was of another model or text: they would pass for its own. Only
/// files of graphs/ and results/<command>/, and results/*.tsv.
void remove_stale_files(const Result& result, const std::filesystem::path& folder, const ResultFiles& files);

/// Writes `folder`/results/<command>.json, and with csv `folder`/results/<command>/<table>.csv. Each file
/// appears whole or not at all. Returns the files written. Throws DataError when the folder is not writable.
std::vector<std::filesystem::path> write_result(const Result& result, const std::filesystem::path& folder,
                                                const ResultFiles& files = {});

/// Reads a result file. Throws DataError as result_from_json(), and when the file cannot be read.
Result read_result(const std::filesystem::path& file);

}  // namespace kvviz
