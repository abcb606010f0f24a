// SPDX-License-Identifier: MIT
#pragma once
#include <string>

namespace kvviz::kernels {

/// The BLAS that is loaded, with the kernels it chose for this processor: "OpenBLAS 0.3.21 (SkylakeX)".
std::string blas_library();

/// "2.7.2, bf16 products: avx512_bf16", or ": none, " and why; or that the build has no oneDNN.
std::string onednn_library();

/// The widest vector instructions that the kernels of this layer were built for and this processor has, as
/// Highway names them: "AVX3".
std::string simd_target();

}  // namespace kvviz::kernels
