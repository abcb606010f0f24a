// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>

#include "kvviz/compress/codec.hpp"
#include "kvviz/compress/rows.hpp"

namespace kvviz::compress {

/// Each row times the normalised Walsh-Hadamard matrix H_d / sqrt(d), H_2d = [H_d H_d; H_d -H_d]:
/// orthonormal, symmetric, its own inverse. `channels` is a power of two. `in` and `out` may be the same.
/// f32, error about log2(d) units in the last place. Cost: d log2(d) additions a token.
void hadamard(const Rows& rows);

/// "hadamard:METHOD": the channels of each head are rotated by hadamard(), coded by METHOD and rotated back,
/// so that an outlier channel is spread over all of them (QuaRot, Ashkboos et al., 2024, arXiv 2404.00456).
/// Attention itself needs no rotation back: queries rotated alike give the same scores, and the output of the
/// values is rotated once. Bytes are METHOD's; the rotation is stored nowhere. code() throws UsageError for a
/// head_dim that is no power of two; making it throws what parse_method does.
std::unique_ptr<Codec> make_hadamard(std::string_view arguments);

}  // namespace kvviz::compress
