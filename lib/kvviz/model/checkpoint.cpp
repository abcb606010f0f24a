// SPDX-License-Identifier: MIT
#include "kvviz/model/checkpoint.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/formats/gguf_model.hpp"
#include "kvviz/formats/quantised_blocks.hpp"
#include "kvviz/formats/safetensors.hpp"
#include "kvviz/formats/torch_file.hpp"
#include "kvviz/formats/weight_files.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::map<std::string, std::string> read_index(const fs::path& index) {
  std::map<std::string, std::string> shard_of;
  try {
    shard_of = json::parse(read_file(index)).at("weight_map").get<std::map<std::string, std::string>>();
  } catch (const json::exception& error) {
    throw DataError(cat(index.string(), ": not a shard index: ", error.what()));
  }
  for (const auto& [name, shard] : shard_of)
    require(fs::path(shard).filename() == shard, index.string(), ": the shard name ", shard,
            " is not a file name");
  return shard_of;
}

std::optional<at::ScalarType> scalar_type(const std::string& dtype) {
  if (dtype == "F32") return at::kFloat;
  if (dtype == "F16") return at::kHalf;
  if (dtype == "BF16") return at::kBFloat16;
  if (dtype == "I64") return at::kLong;
  if (dtype == "I32") return at::kInt;
  return std::nullopt;
}

}  // namespace

void Checkpoint::add(const fs::path& file, StoredTensors tensors) {
  for (auto& [name, tensor] : tensors)
    require(tensors_.emplace(name, std::move(tensor)).second, file.string(), ": ", name,
            " is also in another shard");
  files_.push_back(file);
}

void Checkpoint::add_shards(const fs::path& index, StoredTensors (*read)(const fs::path&)) {
  const auto shard_of = read_index(index);
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    const fs::path file = index.parent_path() / shard;
    require(fs::exists(file), index.string(), " names ", shard, ", which is missing");
    add(file, read(file));
  }
  for (const auto& [name, shard] : shard_of)
    require(find(name) != nullptr, index.string(), " places ", name, " in ", shard, ", which lacks it");
}

Checkpoint Checkpoint::open_file(const fs::path& file) {
  Checkpoint checkpoint;
  checkpoint.add(file, read_safetensors(file));
  return checkpoint;
}

Checkpoint Checkpoint::open(const fs::path& model) {
  const auto weights = find_weights(model);
  const bool adapter =
      fs::exists(model / "adapter_model.safetensors") || fs::exists(model / "adapter_model.bin");
  require(weights.has_value() || !adapter, model.string(),
          " holds an adapter (LoRA) alone; merge it into its base model first, and name the folder of the "
          "result");
  require(weights.has_value(), model.string(),
          " has no weights: expected model.safetensors or model.safetensors.index.json, pytorch_model.bin or "
          "pytorch_model.bin.index.json, or a .gguf file");
  Checkpoint checkpoint;
  if (weights->format == WeightFormat::gguf) {
    const GgufFile file = GgufFile::open_model(weights->file);
    checkpoint.tensors_ = gguf_tensors(file);
    checkpoint.files_ = file.files();
    return checkpoint;
  }
  const auto read = weights->format == WeightFormat::torch ? read_torch_file : read_safetensors;
  if (weights->sharded)
    checkpoint.add_shards(weights->file, read);
  else
    checkpoint.add(weights->file, read(weights->file));
  return checkpoint;
}

const StoredTensor* Checkpoint::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::string Checkpoint::dtype() const {
  std::map<std::string, size_t> bytes;
  for (const auto& [name, tensor] : tensors_) bytes[tensor.dtype] += tensor.bytes.size();
  const auto most = std::max_element(bytes.begin(), bytes.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == bytes.end()) return "";
  std::string name = most->first;
  // GGML writes the family of its blocks with a capital: q4_K.
  for (char& letter : std::span(name).first(std::min(name.size(), name.find('_'))))
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return name;
}

void require_readable(const StoredTensor& stored, const std::string& where) {
  require(
      !stored.dtype.starts_with("F8_"), where, " has the dtype ", stored.dtype,
      ": 8-bit floats, whose scales stand in tensors of their own; read without them the model would be run "
      "wrongly. Use the same model in bf16 or f16");
  require(can_widen(stored.dtype), where, " has the dtype ", stored.dtype, "; supported: ", widened_dtypes());
}

std::optional<at::Tensor> borrowed(const StoredTensor& stored) {
  const auto type = scalar_type(stored.dtype);
  if (!type || !stored.row_order.empty()) return std::nullopt;
  // libtorch has no const tensors; the mapping is read-only, so a write would fault at once.
  return at::from_blob(
      const_cast<std::byte*>(stored.bytes.data()), shape_in_file(stored), [file = stored.file](void*) {},
      at::TensorOptions(*type));
}

at::Tensor widened(const StoredTensor& stored) {
  at::Tensor tensor = at::empty(shape_in_file(stored), at::kFloat);
  widen_rows(stored, 0, {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())});
  return tensor;
}

StoredTensor picked_rows(const StoredTensor& stored, const std::vector<int64_t>& rows) {
  StoredTensor picked = stored;
  picked.shape = shape_in_file(stored);
  picked.transposed = false;
  picked.shape.front() = std::ssize(rows);
  picked.row_order = rows;
  if (!stored.row_order.empty())
    for (int64_t& row : picked.row_order) row = stored.row_order[static_cast<size_t>(row)];
  return picked;
}

}  // namespace kvviz
