// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>

#include "kvviz/analysis/similarity.hpp"

namespace kvviz {

/// Every matrix that the figures show, and the trees.
void write_similarity_arrays(const std::filesystem::path& path, const analysis::SimilarityResult& result);

}  // namespace kvviz
