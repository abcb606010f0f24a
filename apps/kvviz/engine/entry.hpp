// SPDX-License-Identifier: MIT
#pragma once
#include <c10/util/Exception.h>

#include <string>

#include "kvviz/core/error.hpp"
#include "kvviz/core/file_identity.hpp"
#include "kvviz/options.hpp"

namespace kvviz {

/// Cross-field rules, before anything is opened. Throws UsageError.
void validate(const AnalyzeOptions& options);

/// What an exception of libtorch says to a user: without its backtrace, and in our words when there is no
/// memory.
std::string said_by_libtorch(const c10::Error& error);
/// Whether it says that there is no memory.
bool of_memory(const c10::Error& error);

/// Runs a command; what libtorch throws leaves the engine as a DataError. When a file that was read has
/// changed, whatever went wrong, the error says that too.
template <class Run>
int guarded(Run run) {
  try {
    try {
      return run();
    } catch (const c10::Error& error) {
      throw DataError(said_by_libtorch(error));
    }
  } catch (const DataError& error) {
    const std::string change = changed_input();
    if (change.empty() || change == error.what()) throw;
    throw DataError(cat(change, " (", error.what(), ')'));
  }
}

}  // namespace kvviz

extern "C" {
int kvviz_analyze(const kvviz::AnalyzeOptions& options);
int kvviz_sinks(const kvviz::SinksOptions& options);
int kvviz_simulate(const kvviz::SimulateOptions& options);
int kvviz_compress(const kvviz::CompressOptions& options);
int kvviz_analyze_generation(const kvviz::GenerationOptions& options);
int kvviz_prune(const kvviz::PruneOptions& options);
int kvviz_tucker(const kvviz::TuckerOptions& options);
int kvviz_models_info(const kvviz::ModelsInfoOptions& options);
int kvviz_profile(const kvviz::ProfileOptions& options);
int kvviz_analyze_similarity(const kvviz::SimilarityOptions& options);
int kvviz_compare(const kvviz::CompareOptions& options);
int kvviz_capture(const kvviz::CaptureOptions& options);
int kvviz_serve(const kvviz::ServeOptions& options);
int kvviz_build_facts(const kvviz::BuildFactsOptions& options);
}
