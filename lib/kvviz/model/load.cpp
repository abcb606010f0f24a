// SPDX-License-Identifier: MIT
#include "kvviz/model/load.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/formats/gguf_model.hpp"
#include "kvviz/formats/weight_files.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/model/arch.hpp"
#include "kvviz/model/checkpoint.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

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
            shape_text(stored->shape), "; the configuration asks for ", shape_text(expected));
    require_readable(*stored, cat(folder, ": ", source.theirs));
    fillings.push_back({slot, source, stored});
  }
  return fillings;
}

void refuse_strangers(const ModelConfig& config, const Checkpoint& checkpoint,
                      const std::vector<Filling>& fillings, const std::string& folder) {
  std::set<const StoredTensor*> used;
  for (const Filling& filling : fillings) used.insert(filling.stored);
  const Architecture& family = architecture_of(config);
  const std::string tied_head = config.tied_head ? family.head + ".weight" : "";
  for (const auto& [name, stored] : checkpoint.tensors()) {
    const std::string dotted = '.' + name;  // endings that are whole names lack the prefix too
    const bool known = used.contains(&stored) || name == tied_head ||
                       std::any_of(family.ignored.begin(), family.ignored.end(),
                                   [&](const std::string& end) { return dotted.ends_with(end); });
    require(known, folder, ": the weights hold ", name, ", which ", config.architecture,
            " with this configuration does not have; the model would be run wrongly");
  }
}

template <class Bits>
bool all_below(const at::Tensor& dense, Bits exponent) {
  const auto* bits = static_cast<const Bits*>(dense.data_ptr());
  unsigned int bad = 0;
  for (int64_t i = 0; i < dense.numel(); ++i)
    bad |= static_cast<unsigned int>((bits[i] & exponent) == exponent);
  return bad == 0;
}

// All exponent bits are set in infinity and NaN.
bool all_finite(const at::Tensor& dense) {
  switch (dense.scalar_type()) {
    case at::kHalf:
      return all_below<uint16_t>(dense, 0x7c00);
    case at::kBFloat16:
      return all_below<uint16_t>(dense, 0x7f80);
    default:
      return all_below<uint32_t>(dense, 0x7f800000);
  }
}

at::Tensor selected_rows(const at::Tensor& stored, const WeightSource& source, int64_t rows) {
  if (source.period == 0) return stored.narrow(0, source.first_row, rows);
  const int64_t periods = stored.size(0) / source.period;
  std::vector<int64_t> shape = stored.sizes().vec();
  shape.front() = source.period;
  shape.insert(shape.begin(), periods);
  return stored.reshape(shape).narrow(1, source.first_row, rows / periods).flatten(0, 1);
}

std::vector<int64_t> row_numbers(const WeightSource& source, int64_t rows, int64_t all) {
  const int64_t periods = source.period == 0 ? 1 : all / source.period;
  std::vector<int64_t> numbers;
  for (int64_t period = 0; period < periods; ++period)
    for (int64_t i = 0; i < rows / periods; ++i)
      numbers.push_back(period * source.period + source.first_row + i);
  return numbers;
}

// The rows that a slot wants, widened where the file's bytes cannot be used as they are. A part of a fused
// tensor is picked before it is widened: it must not keep all of it in memory.
at::Tensor rows_from_file(const Filling& filling) {
  const StoredTensor& stored = *filling.stored;
  const bool turned = stored.transposed != filling.source.transposed;
  const int64_t rows = filling.slot.shape.front(), all = shape_in_file(stored).front();
  const auto plain = borrowed(stored);
  if (!plain && !turned)
    return widened(rows == all ? stored : picked_rows(stored, row_numbers(filling.source, rows, all)));
  const at::Tensor tensor = plain ? *plain : widened(stored);
  return selected_rows(turned ? tensor.t() : tensor, filling.source, rows);
}

at::ScalarType kept_type(const WeightSlot& slot, const LoadOptions& options) {
  const bool matrix = slot.shape.size() == 2 && slot.name != "positions";
  return matrix ? options.matrices : at::kFloat;
}

int64_t kept_bytes(const WeightSlot& slot, const LoadOptions& options) {
  return std::accumulate(slot.shape.begin(), slot.shape.end(),
                         static_cast<int64_t>(at::elementSize(kept_type(slot, options))), std::multiplies{});
}

at::Tensor fill(const Filling& filling, const LoadOptions& options) {
  const at::ScalarType type = kept_type(filling.slot, options);
  const at::Tensor tensor = rows_from_file(filling);
  const double added = filling.source.added - filling.stored->added;
  if (added != 0) return tensor.to(at::kFloat).add(added);
  const bool aligned = std::bit_cast<uintptr_t>(tensor.data_ptr()) % tensor.element_size() == 0;
  return tensor.to(type, /*non_blocking=*/false, /*copy=*/!aligned).contiguous();
}

json config_json(const fs::path& file) {
  const std::string text = read_file(file);
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    const bool python = text.find("NaN") != text.npos || text.find("Infinity") != text.npos;
    throw DataError(
        cat(file.string(), " is not JSON: ", error.what(),
            python ? "; NaN and Infinity, which Python writes, are none: write null or a number" : ""));
  }
}

// A GGUF file's metadata is read as the config.json that it stands for.
std::string told_of(const fs::path& file, std::string message) {
  constexpr std::string_view name = "config.json";
  if (const size_t place = message.find(name); file.filename() != name && place != std::string::npos)
    message.replace(place, name.size(), "its metadata, as config.json,");
  return message;
}

std::vector<fs::path> with_config(std::vector<fs::path> weights, const fs::path& folder) {
  if (const fs::path file = config_file(folder); file != weights.front())
    weights.insert(weights.begin(), file);
  return weights;
}

}  // namespace

fs::path config_file(const fs::path& folder) {
  require(fs::exists(folder), folder.string(),
          " does not exist; expected a model folder with config.json, weights and tokenizer files, or a "
          ".gguf file");
  if (auto gguf = gguf_of(folder)) return *gguf;
  const fs::path file = folder / "config.json";
  require(fs::exists(file), folder.string(),
          " has no config.json; expected a Hugging Face model folder or a .gguf file");
  return file;
}

json read_config(const fs::path& folder) {
  const fs::path file = config_file(folder);
  return gguf_of(folder) ? gguf_config(GgufFile::open_model(file)) : config_json(file);
}

ModelConfig load_config(const fs::path& folder) {
  const fs::path file = config_file(folder);
  const json config = read_config(folder);
  try {
    return parse_config(config);
  } catch (const DataError& error) {
    throw DataError(cat(folder.string(), ": ", told_of(file, error.what())));
  }
}

LoadedModel load_model(const fs::path& folder, const LoadOptions& options) {
  const ModelConfig config = load_config(folder);
  require(config.quantisation.empty(), folder.string(), ": the weights are quantised (", config.quantisation,
          "), which is not supported; use the original checkpoint in bf16, f16 or f32, or a GGUF file of it");
  const Checkpoint checkpoint = Checkpoint::open(folder);
  ModelWeights weights;
  const std::vector<Filling> fillings = match(config, weights, checkpoint, folder.string());
  refuse_strangers(config, checkpoint, fillings, folder.string());
  std::mutex counting;
  int64_t done = 0, total = 0;
  for (const Filling& filling : fillings) total += kept_bytes(filling.slot, options);
  // Slices of one stored tensor share its pages; one given back too early is read from the file again.
  kernels::parallel_for(static_cast<int64_t>(fillings.size()), [&](int64_t i) {
    const Filling& filling = fillings[static_cast<size_t>(i)];
    at::Tensor& target = *filling.slot.target;
    target = fill(filling, options);
    require(all_finite(target), folder.string(), ": ", filling.source.theirs,
            " holds NaN or infinite weights",
            options.matrices == at::kHalf ? ", or larger ones than f16 can hold" : "");
    if (target.data_ptr() != static_cast<const void*>(filling.stored->bytes.data()))
      filling.stored->file->release(filling.stored->bytes);
    target = target.to(options.device);
    if (!options.on_bytes) return;
    const std::lock_guard lock(counting);
    options.on_bytes(done += kept_bytes(filling.slot, options), total);
  });
  if (config.tied_head) weights.head.weight = weights.embedding;
  return {Decoder(config, std::move(weights)), dtype_name(options.matrices), checkpoint.dtype(),
          with_config(checkpoint.files(), folder)};
}

std::vector<fs::path> model_files(const fs::path& folder) {
  return with_config(Checkpoint::open(folder).files(), folder);
}

}  // namespace kvviz
