// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/options.hpp"

namespace kvviz {

/// The engine is a shared library of its own, opened only by commands that need libtorch, after the
/// environment that its libraries read at load time is set: `--help` costs a millisecond, and idle OpenMP and
/// OpenBLAS workers sleep. Each function loads it and runs one command. Throws DataError when the engine
/// cannot be loaded.
int run_in_engine(const AnalyzeOptions& options);
int run_in_engine(const SinksOptions& options);
int run_in_engine(const SimulateOptions& options);
int run_in_engine(const CompressOptions& options);
int run_in_engine(const PruneOptions& options);
int run_in_engine(const TuckerOptions& options);
int run_in_engine(const ModelsInfoOptions& options);
int run_in_engine(const ProfileOptions& options);
int run_in_engine(const GenerationOptions& options);
int run_in_engine(const SimilarityOptions& options);
int run_in_engine(const CompareOptions& options);
int run_in_engine(const CaptureOptions& options);
int run_in_engine(const ServeOptions& options);
int run_in_engine(const BuildFactsOptions& options);

}  // namespace kvviz
