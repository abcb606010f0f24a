// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace kvviz {

/// Writes dense CPU tensors (f32, f16, bf16, i64, i32) as one safetensors file, whole or not at all.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace kvviz
