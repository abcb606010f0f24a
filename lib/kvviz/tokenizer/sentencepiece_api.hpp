// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/tokenizer/sentencepiece_abi.h"

namespace kvviz {

/// The library kvviz_sentencepiece, opened at the first call and kept until the process ends. It is looked
/// for beside the binary that holds this code, beside the running program, in ../lib/kvviz of each, and in
/// the build's bin folder. Throws DataError naming these places when it is in none of them.
const KvvizSpApi& sentencepiece_api();

}  // namespace kvviz
