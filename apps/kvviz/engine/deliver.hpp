// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "kvviz/engine/subject.hpp"
#include "kvviz/figures/named_figure.hpp"
#include "kvviz/options.hpp"
#include "kvviz/report/gate.hpp"
#include "kvviz/report/result.hpp"

namespace kvviz {

/// Whether a run ends with figures: one of a shard does not, and of some nobody knows before it ends.
enum class Draws { yes, maybe_not };
inline Draws draws(const TextsOptions& texts) {
  return texts.batch.shard.empty() ? Draws::yes : Draws::maybe_not;
}

/// The gates of the command line, the folder of the output, gnuplot where there are figures to draw, and the
/// file of --junit, looked at before any model is read. That file then says that the run has not ended, so
/// that no earlier one passes for its report. `others`: names of the checks that the command adds to its
/// gates. Throws UsageError, DataError.
std::vector<Gate> check_output(const OutputOptions& output, Draws draws,
                               std::span<const std::string> others = {});

/// The provenance block: version, call, effective options, where the numbers came from.
nlohmann::ordered_json provenance_of(const SubjectOrigin& origin, const CallOptions& call,
                                     nlohmann::ordered_json options);

/// What is put out with a result.
struct Delivery {
  std::vector<Gate> gates;
  std::vector<Check> checks;  ///< that the command has made itself
  std::vector<figures::NamedFigure> figures;
  std::string subtitle;                   ///< of the figures that have none
  std::string heading;                    ///< first line on the console
  std::vector<std::string> shown_tables;  ///< those that the console shows
  int64_t shown_rows = 12;                ///< of each at most
  /// Writes results/<command>.h5; empty: the command has no large arrays this time.
  std::function<void(const std::filesystem::path&)> write_arrays;
  /// Further files that a result of the command may have, relative to the output folder.
  std::function<std::vector<std::filesystem::path>(const Result&)> more_files;
  std::string remark;             ///< for stderr, last; empty: none
  nlohmann::ordered_json advice;  ///< results/<command>_advice.json, for other programs; null: there is none
};

/// Refuses when a file that was read has changed since (file_identity.hpp). Waits until no other run writes
/// to the folder. Checks the gates, draws the figures, writes the files, prints the summary and reports the
/// checks: on the console, as --junit and as annotations. Returns the exit code of the checks. What a gate
/// could not be decided for is an error (1 or 2) that leaves all files written: the run was long, the gate is
/// soon put right. So is a figure that cannot be drawn, which leaves none; it is thrown when all else is
/// done.
int deliver(Result result, Delivery delivery, const OutputOptions& output);

/// "gpt2", from a path or a hub id.
std::string short_name(const std::string& model);

}  // namespace kvviz
