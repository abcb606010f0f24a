// SPDX-License-Identifier: MIT
#pragma once
#include <span>

#include "kvviz/analysis/kivi_errors.hpp"
#include "kvviz/engine/subject.hpp"

namespace kvviz {

/// KIVI's Table 2 for this model: means over texts and layers, of the queries of each text's second half.
analysis::KiviStudy kivi_errors(const Runner& runner, std::span<const TextInput> texts, int64_t bits,
                                bool quiet);

}  // namespace kvviz
