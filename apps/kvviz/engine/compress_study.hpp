// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <vector>

#include "kvviz/analysis/compression.hpp"
#include "kvviz/compress/codec.hpp"
#include "kvviz/engine/subject.hpp"

namespace kvviz {

/// The methods that the options name, each with its arguments; with --sweep, or without a name, all that the
/// sweeps of the table try. Throws UsageError for an unknown name, wrong arguments, and a method named twice.
std::vector<compress::Method> methods_of(const CompressOptions& options);

/// Tokens of a text whose cache is coded. Throws UsageError when none are left to predict.
int64_t prefix_of(const CompressOptions& options, const TextInput& text);

/// Codes the prefix's cache of every text by every method and reads the continuation with it.
analysis::CompressionStudy compress_texts(const Runner& runner, std::span<const TextInput> texts,
                                          std::span<const compress::Method> methods,
                                          const CompressOptions& options);

}  // namespace kvviz
