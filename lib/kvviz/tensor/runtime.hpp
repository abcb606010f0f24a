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

/// "auto", "cpu", "cuda" or "mps" as a device; auto: cuda if there is one, else mps, else cpu. Throws
/// DataError for a device that this machine, or the libtorch that kvviz was built with, does not have.
at::Device device_of(const std::string& name);

/// The most bytes of tensors that were on the CUDA device at once since the process began; 0 without one, and
/// where libtorch does not tell (before 2.9).
int64_t peak_cuda_bytes();

}  // namespace kvviz
