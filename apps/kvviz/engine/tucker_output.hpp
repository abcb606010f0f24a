// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "kvviz/analysis/tucker_study.hpp"
#include "kvviz/options.hpp"
#include "kvviz/report/result.hpp"

namespace kvviz {

nlohmann::ordered_json effective_options(const TuckerOptions& options, const analysis::TuckerStudy& study);

std::vector<Fact> summary_facts(const analysis::TuckerStudy& study);

/// Cores and factors of the chosen layer, and all error curves.
void write_tucker_arrays(const std::filesystem::path& file, const analysis::TuckerStudy& study);

}  // namespace kvviz
