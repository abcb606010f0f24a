// SPDX-License-Identifier: MIT
#include "kvviz/formats/safetensors.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "kvviz/core/error.hpp"
#include "kvviz/core/json_number.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

// A shape or a list of offsets lies at depth 3; deeper JSON is no header, and would cost stack to take apart.
constexpr int deepest_header = 16;

json parse_header(std::string_view text, const std::string& file) {
  std::set<std::string> names;
  std::string twice;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    require(depth <= deepest_header, file, ": the safetensors header is nested too deeply");
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

std::vector<int64_t> sizes(const json& entry, const char* key, const std::string& where) {
  const json& list = entry.at(key);
  const auto refuse = [&] {
    throw DataError(cat(where, ": ", key, " is ", list.dump(-1, ' ', true, json::error_handler_t::replace),
                        ", expected a list of whole numbers from 0 on"));
  };
  if (!list.is_array()) refuse();
  std::vector<int64_t> all;
  for (const json& element : list) {
    all.push_back(whole_number(element).value_or(-1));
    if (all.back() < 0) refuse();
  }
  return all;
}

StoredTensor read_entry(const json& entry, const Extent& extent, std::span<const std::byte> data,
                        const std::string& where) {
  StoredTensor tensor;
  tensor.dtype = entry.at("dtype").get<std::string>();
  tensor.shape = sizes(entry, "shape", where);
  const auto layout = plain_layout(tensor.dtype);
  require(layout.has_value(), where, ": unknown dtype ", tensor.dtype);
  const auto bytes = bytes_of(tensor.shape, *layout);
  require(extent.begin <= extent.end && extent.end <= data.size(), where, ": its data_offsets [",
          extent.begin, ", ", extent.end, "] lie outside the ", data.size(),
          " bytes of data; the file is truncated or damaged");
  require(bytes && *bytes == extent.end - extent.begin, where, ": got ", extent.end - extent.begin,
          " bytes, expected ", bytes ? cat(*bytes) : std::string("a shape without negative or huge sizes"),
          " for ", tensor.dtype, ' ', shape_text(tensor.shape));
  tensor.bytes = data.subspan(extent.begin, extent.end - extent.begin);
  return tensor;
}

void check_layout(std::vector<Extent>& extents, size_t data_size, const std::string& file) {
  check_apart(extents, file);
  uint64_t end = 0;
  for (const Extent& extent : extents) {
    require(extent.begin == end, file, ": ", extent.begin - end, " bytes before ", extent.name,
            " belong to no tensor");
    end = extent.end;
  }
  require(end == data_size, file, ": ", data_size - end, " bytes at the end belong to no tensor");
}

}  // namespace

StoredTensors parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  require(bytes.size() >= 8, name, ": got ", bytes.size(), " bytes; a safetensors file has at least 8");
  constexpr std::string_view pointer = "version https://git-lfs";
  require(
      std::string_view(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), pointer.size())) !=
          pointer,
      name,
      ": this is a pointer of Git LFS, not the weights; fetch them with git lfs pull, or kvviz models pull");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  require(length <= bytes.size() - 8, name, ": the header claims ", length, " bytes, the file has ",
          bytes.size(), "; it is truncated or not a safetensors file");
  const json header = parse_header({reinterpret_cast<const char*>(bytes.data() + 8), length}, name);
  const auto data = bytes.subspan(8 + length);
  StoredTensors tensors;
  std::vector<Extent> extents;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") continue;
    const std::string where = cat(name, ": ", key);
    try {
      const auto offsets = sizes(entry, "data_offsets", where);
      require(offsets.size() == 2, where, ": expected two data_offsets, got ", offsets.size());
      extents.push_back({key, static_cast<uint64_t>(offsets[0]), static_cast<uint64_t>(offsets[1])});
      tensors.emplace(key, read_entry(entry, extents.back(), data, where));
    } catch (const json::exception& error) {
      throw DataError(cat(where, ": bad entry in the safetensors header: ", error.what()));
    }
  }
  check_layout(extents, data.size(), name);
  return tensors;
}

StoredTensors read_safetensors(const std::filesystem::path& path) {
  const auto mapped = std::make_shared<const MappedFile>(path);
  StoredTensors tensors = parse_safetensors(mapped->bytes(), path.string());
  for (auto& [name, tensor] : tensors) tensor.file = mapped;
  return tensors;
}

}  // namespace kvviz
