// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/compress/codec.hpp"

namespace kvviz::compress {

// One function a file of methods; methods() puts their rows into one table.

std::span<const MethodInfo> plain_methods();        ///< f32, f16, bf16, fp8
std::span<const MethodInfo> quantised_methods();    ///< rtn, kivi, q8_0, q4_0, hadamard
std::span<const MethodInfo> low_rank_methods();     ///< svd, pca, tucker, groups
std::span<const MethodInfo> cross_layer_methods();  ///< xkv, minicache

}  // namespace kvviz::compress
