// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace kvviz {

/// Threads of libtorch and of the kernels' pool; 0: all CPUs the process may use. Returns the number chosen.
int set_threads(int threads);

/// "f32", "f16", "bf16"; the libtorch name for other types.
std::string dtype_name(at::ScalarType type);
/// The same backwards. Throws std::logic_error for other names: options are checked before.
at::ScalarType dtype_of(const std::string& name);

/// Largest resident set of this process so far, in bytes.
int64_t peak_resident_bytes();

}  // namespace kvviz
