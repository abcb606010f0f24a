// SPDX-License-Identifier: MIT
#include "kvviz/model/load.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/model/arch.hpp"
#include "kvviz/model/safetensors.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string shape_text(const std::vector<int64_t>& shape) {
  return json(shape).dump();
}

// A slot with the stored tensor that fills it.
struct Filling {
  WeightSlot slot;
  WeightSource source;
  const StoredTensor* stored;
};

const StoredTensor* find(const Checkpoint& checkpoint, const std::string& name, const std::string& prefix) {
  if (const StoredTensor* stored = checkpoint.find(name)) return stored;
  return name.starts_with(prefix) ? checkpoint.find(name.substr(prefix.size())) : nullptr;
}

std::vector<int64_t> stored_shape(const WeightSlot& slot, const WeightSource& source) {
  std::vector<int64_t> shape = slot.shape;
  if (source.stored_rows > 0) shape.front() = source.stored_rows;
  if (source.transposed) std::reverse(shape.begin(), shape.end());
  return shape;
}

std::vector<Filling> match(const ModelConfig& config, ModelWeights& weights, const Checkpoint& checkpoint,
                           const std::string& folder) {
  const std::string& prefix = architecture_of(config).prefix;
  std::map<std::string, WeightSource> sources;
  for (WeightSource& source : weight_map(config)) sources.emplace(source.ours, std::move(source));
  std::vector<Filling> fillings;
  for (WeightSlot& slot : weight_slots(config, weights)) {
    const WeightSource& source = sources.at(slot.name);
    const StoredTensor* stored = find(checkpoint, source.theirs, prefix);
    require(stored != nullptr, folder, ": the weights lack the tensor ", source.theirs);
    const std::vector<int64_t> expected = stored_shape(slot, source);
    require(stored->shape == expected, folder, ": ", source.theirs, " has the shape ",
            shape_text(stored->shape), "; config.json asks for ", shape_text(expected));
    require(stored->dtype == "F32" || stored->dtype == "F16" || stored->dtype == "BF16", folder, ": ",
            source.theirs, " has the dtype ", stored->dtype, "; supported: F32, F16, BF16");
    fillings.push_back({slot, source, stored});
  }
  return fillings;
}

void refuse_strangers(const ModelConfig& config, const Checkpoint& checkpoint,
                      const std::vector<Filling>& fillings, const std::string& folder) {
  std::set<const StoredTensor*> used;
  for (const Filling& filling : fillings) used.insert(filling.stored);
  const auto& ignored = architecture_of(config).ignored;
  for (const auto& [name, stored] : checkpoint.tensors()) {
    const bool known = used.contains(&stored) || (config.tied_head && name == "lm_head.weight") ||
                       std::any_of(ignored.begin(), ignored.end(),
                                   [&n = name](const std::string& end) { return n.ends_with(end); });
    require(known, folder, ": the weights hold ", name, ", which ", config.architecture,
            " with this config.json does not have; the model would be run wrongly");
  }
}

bool all_finite(const at::Tensor& dense) {
  const auto* bits = static_cast<const uint32_t*>(dense.data_ptr());
  constexpr uint32_t exponent = 0x7f800000;
  uint32_t bad = 0;
  for (int64_t i = 0; i < dense.numel(); ++i) bad |= static_cast<uint32_t>((bits[i] & exponent) == exponent);
  return bad == 0;
}

at::Tensor fill(const Filling& filling) {
  at::Tensor tensor = *borrowed(*filling.stored);
  if (filling.source.transposed) tensor = tensor.t();
  tensor = tensor.narrow(0, filling.source.first_row, filling.slot.shape.front());
  const bool in_place = tensor.scalar_type() == at::kFloat && tensor.is_contiguous() &&
                        std::bit_cast<uintptr_t>(tensor.data_ptr()) % alignof(float) == 0;
  return in_place ? tensor : tensor.to(at::kFloat).contiguous();
}

}  // namespace

ModelConfig load_config(const fs::path& folder) {
  require(fs::is_directory(folder), folder.string(),
          fs::exists(folder) ? " is not a folder" : " does not exist",
          "; expected a model folder with config.json, safetensors and tokenizer files");
  const fs::path file = folder / "config.json";
  require(fs::exists(file), folder.string(), " has no config.json; expected a Hugging Face model folder");
  json config;
  try {
    config = json::parse(read_file(file));
  } catch (const json::exception& error) {
    throw DataError(cat(file.string(), " is not JSON: ", error.what()));
  }
  try {
    return parse_config(config);
  } catch (const DataError& error) {
    throw DataError(cat(folder.string(), ": ", error.what()));
  }
}

LoadedModel load_model(const fs::path& folder) {
  const ModelConfig config = load_config(folder);
  const Checkpoint checkpoint = Checkpoint::open(folder);
  ModelWeights weights;
  const std::vector<Filling> fillings = match(config, weights, checkpoint, folder.string());
  refuse_strangers(config, checkpoint, fillings, folder.string());
  // Slices of one stored tensor share its pages; one given back too early is read from the file again.
  kernels::parallel_for(static_cast<int64_t>(fillings.size()), [&](int64_t i) {
    const Filling& filling = fillings[static_cast<size_t>(i)];
    at::Tensor& target = *filling.slot.target;
    target = fill(filling);
    require(all_finite(target), folder.string(), ": ", filling.source.theirs,
            " holds NaN or infinite weights");
    if (target.data_ptr() != static_cast<const void*>(filling.stored->bytes.data()))
      filling.stored->file->release(filling.stored->bytes);
  });
  if (config.tied_head) weights.head = weights.embedding;
  std::vector<fs::path> files{folder / "config.json"};
  files.insert(files.end(), checkpoint.files().begin(), checkpoint.files().end());
  const std::string dtype = dtype_name(borrowed(*fillings.front().stored)->scalar_type());
  return {Decoder(config, std::move(weights)), dtype, std::move(files)};
}

}  // namespace kvviz
