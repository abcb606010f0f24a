// SPDX-License-Identifier: MIT
#include "kvviz/model/safetensors.hpp"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct DtypeInfo {
  const char* name;
  int64_t bytes;
  std::optional<at::ScalarType> type;
};
constexpr DtypeInfo dtypes[] = {
    {"F32", 4, at::kFloat}, {"F16", 2, at::kHalf}, {"BF16", 2, at::kBFloat16},
    {"I64", 8, at::kLong},  {"I32", 4, at::kInt},  {"F64", 8, {}},
    {"I16", 2, {}},         {"I8", 1, {}},         {"U8", 1, {}},
    {"BOOL", 1, {}},        {"F8_E4M3", 1, {}},    {"F8_E5M2", 1, {}},
    {"U16", 2, {}},         {"U32", 4, {}},        {"U64", 8, {}},
};

const DtypeInfo* dtype_info(const std::string& name) {
  const auto* found =
      std::find_if(std::begin(dtypes), std::end(dtypes), [&](const DtypeInfo& d) { return name == d.name; });
  return found == std::end(dtypes) ? nullptr : found;
}

json parse_header(const std::string& text, const std::string& file) {
  std::set<std::string> names;
  std::string twice;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth == 1 && event == json::parse_event_t::key && !names.insert(value.get<std::string>()).second)
      twice = value.get<std::string>();
    return true;
  };
  json header;
  try {
    header = json::parse(text, watch);
  } catch (const json::exception& error) {
    throw DataError(cat(file, ": the safetensors header is not JSON: ", error.what()));
  }
  require(header.is_object(), file, ": the safetensors header is not a JSON object");
  require(twice.empty(), file, ": the tensor ", twice, " stands twice in the header");
  return header;
}

// Bytes that a shape takes, or nullopt when a size is negative or the product does not fit.
std::optional<uint64_t> bytes_of(const std::vector<int64_t>& shape, int64_t element) {
  auto bytes = static_cast<uint64_t>(element);
  for (const int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes)) return std::nullopt;
  return bytes;
}

struct Extent {
  std::string name;
  uint64_t begin, end;
};

StoredTensor read_entry(const json& entry, const Extent& extent, std::span<const std::byte> data,
                        const std::string& where) {
  StoredTensor tensor;
  tensor.dtype = entry.at("dtype").get<std::string>();
  tensor.shape = entry.at("shape").get<std::vector<int64_t>>();
  const DtypeInfo* info = dtype_info(tensor.dtype);
  require(info != nullptr, where, ": unknown dtype ", tensor.dtype);
  const auto bytes = bytes_of(tensor.shape, info->bytes);
  require(extent.begin <= extent.end && extent.end <= data.size(), where, ": its data_offsets [",
          extent.begin, ", ", extent.end, "] lie outside the ", data.size(),
          " bytes of data; the file is truncated or damaged");
  require(bytes && *bytes == extent.end - extent.begin, where, ": got ", extent.end - extent.begin,
          " bytes, expected ", bytes ? cat(*bytes) : std::string("a shape without negative or huge sizes"),
          " for ", tensor.dtype, ' ', json(tensor.shape).dump());
  tensor.bytes = data.subspan(extent.begin, extent.end - extent.begin);
  return tensor;
}

void check_layout(std::vector<Extent> extents, size_t data_size, const std::string& file) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const Extent& extent : extents) {
    require(extent.begin >= end, file, ": the bytes of ", extent.name, " overlap those of another tensor");
    require(extent.begin == end, file, ": ", extent.begin - end, " bytes before ", extent.name,
            " belong to no tensor");
    end = extent.end;
  }
  require(end == data_size, file, ": ", data_size - end, " bytes at the end belong to no tensor");
}

}  // namespace

void Checkpoint::add(const fs::path& path) {
  const std::string file = path.string();
  const auto mapped = std::make_shared<const MappedFile>(path);
  const auto bytes = mapped->bytes();
  require(bytes.size() >= 8, file, ": got ", bytes.size(), " bytes; a safetensors file has at least 8");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  require(length <= bytes.size() - 8, file, ": the header claims ", length, " bytes, the file has ",
          bytes.size(), "; it is truncated or not a safetensors file");
  const auto* text = reinterpret_cast<const char*>(bytes.data() + 8);
  const json header = parse_header(std::string(text, length), file);
  const auto data = bytes.subspan(8 + length);
  std::vector<Extent> extents;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const std::string where = cat(file, ": ", name);
    try {
      const auto offsets = entry.at("data_offsets").get<std::vector<uint64_t>>();
      require(offsets.size() == 2, where, ": expected two data_offsets, got ", offsets.size());
      extents.push_back({name, offsets[0], offsets[1]});
      StoredTensor tensor = read_entry(entry, extents.back(), data, where);
      tensor.file = mapped;
      require(tensors_.emplace(name, std::move(tensor)).second, where, " is also in another shard");
    } catch (const json::exception& error) {
      throw DataError(cat(where, ": bad entry in the safetensors header: ", error.what()));
    }
  }
  check_layout(std::move(extents), data.size(), file);
  files_.push_back(path);
}

Checkpoint Checkpoint::open_file(const fs::path& file) {
  Checkpoint checkpoint;
  checkpoint.add(file);
  return checkpoint;
}

Checkpoint Checkpoint::open(const fs::path& folder) {
  const fs::path single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
  if (fs::exists(single)) return open_file(single);
  require(fs::exists(index), folder.string(),
          " has no weights: expected model.safetensors or model.safetensors.index.json");
  std::map<std::string, std::string> shard_of;
  try {
    shard_of = json::parse(read_file(index)).at("weight_map").get<std::map<std::string, std::string>>();
  } catch (const json::exception& error) {
    throw DataError(cat(index.string(), ": not a shard index: ", error.what()));
  }
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) {
    require(fs::path(shard).filename() == shard, index.string(), ": the shard name ", shard,
            " is not a file name");
    shards.insert(shard);
  }
  Checkpoint checkpoint;
  for (const std::string& shard : shards) {
    require(fs::exists(folder / shard), index.string(), " names ", shard, ", which is missing");
    checkpoint.add(folder / shard);
  }
  for (const auto& [name, shard] : shard_of)
    require(checkpoint.find(name) != nullptr, index.string(), " places ", name, " in ", shard,
            ", which lacks it");
  return checkpoint;
}

const StoredTensor* Checkpoint::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::optional<at::Tensor> borrowed(const StoredTensor& stored) {
  const DtypeInfo* info = dtype_info(stored.dtype);
  if (info == nullptr || !info->type) return std::nullopt;
  // libtorch has no const tensors; the mapping is read-only, so a write would fault at once.
  return at::from_blob(
      const_cast<std::byte*>(stored.bytes.data()), stored.shape, [file = stored.file](void*) {},
      at::TensorOptions(*info->type));
}

void write_safetensors(const fs::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto* info =
        std::find_if(std::begin(dtypes), std::end(dtypes),
                     [&tensor = tensor](const DtypeInfo& d) { return d.type == tensor.scalar_type(); });
    require<std::logic_error>(info != std::end(dtypes) && tensor.is_contiguous(), "cannot store ", name);
    header[name] = {{"dtype", info->name},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + tensor.nbytes()}}};
    offset += tensor.nbytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  AtomicFile file(path);
  std::ofstream out(file.temporary(), std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), 8);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const auto& [name, tensor] : tensors)
    out.write(static_cast<const char*>(tensor.data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
  out.close();
  require(out.good(), "cannot write ", path.string(), ": ", std::strerror(errno));
  file.commit();
}

}  // namespace kvviz
