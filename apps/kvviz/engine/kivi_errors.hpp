// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <vector>

#include "kvviz/analysis/kivi_errors.hpp"
#include "kvviz/eval/quantisation_errors.hpp"

namespace kvviz {

/// What rounding does to the attention of one text, of the queries of its second half:
/// [entry of KiviStudy::means][layer].
std::vector<std::vector<AttentionErrors>> kivi_errors(const Decoder& decoder, std::span<const int32_t> ids,
                                                      int64_t bits);

/// KIVI's Table 2 for a model of so many layers, without any text.
analysis::KiviStudy kivi_study(int64_t bits, size_t layers);

/// Adds the errors of one of `texts` texts: the study has means over texts, and over layers.
void add_text(analysis::KiviStudy& study, std::span<const std::vector<AttentionErrors>> errors,
              int64_t texts);

}  // namespace kvviz
