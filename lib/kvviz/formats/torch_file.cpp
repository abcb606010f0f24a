// SPDX-License-Identifier: MIT
#include "kvviz/formats/torch_file.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "kvviz/core/error.hpp"
#include "kvviz/formats/pickle.hpp"
#include "kvviz/formats/zip_archive.hpp"

namespace kvviz {
namespace {

using Entries = std::map<std::string, std::span<const std::byte>>;

bool begins(std::span<const std::byte> bytes, std::string_view start) {
  return bytes.size() >= start.size() && std::memcmp(bytes.data(), start.data(), start.size()) == 0;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The folder inside the archive that holds data.pkl, with its slash; torch.save names it after the file.
std::string archive_folder(const Entries& entries, const std::string& file) {
  constexpr std::string_view pickle = "data.pkl";
  for (const auto& [name, bytes] : entries)
    if (name.ends_with(pickle) &&
        (name.size() == pickle.size() || name[name.size() - pickle.size() - 1] == '/'))
      return name.substr(0, name.size() - pickle.size());
  throw DataError(cat(file, ": a zip archive without data.pkl; expected what torch.save writes"));
}

bool strides_are(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides,
                 const std::vector<int64_t>& wanted) {
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1 && strides[i] != wanted[i]) return false;
  return true;
}

std::vector<int64_t> dense_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

StoredTensor stored(const PickledTensor& pickled, std::span<const std::byte> storage,
                    const std::string& where) {
  const DtypeLayout layout = *plain_layout(pickled.dtype);
  const auto size = bytes_of(pickled.shape, layout);
  const auto all = bytes_of({pickled.storage_size}, layout), before = bytes_of({pickled.offset}, layout);
  require(size && all && before && pickled.shape.size() == pickled.strides.size(), where,
          ": impossible shape, strides or offset");
  require(*all == storage.size(), where, ": its storage has ", storage.size(), " bytes; the pickle says ",
          *all);
  require(*before <= *all && *size <= *all - *before, where, ": its ", *size, " bytes at ", *before,
          " lie outside its storage of ", *all);
  StoredTensor tensor{std::string(pickled.dtype), pickled.shape, storage.subspan(*before, *size), nullptr};
  if (*size == 0) return tensor;
  const bool dense = strides_are(pickled.shape, pickled.strides, dense_strides(pickled.shape));
  tensor.transposed = !dense && pickled.shape.size() == 2 &&
                      strides_are(pickled.shape, pickled.strides, {1, pickled.shape.front()});
  require(dense || tensor.transposed, where, ": its strides ", shape_text(pickled.strides), " for the shape ",
          shape_text(pickled.shape), " are neither dense nor transposed; save a contiguous() copy");
  return tensor;
}

}  // namespace

StoredTensors parse_torch_file(std::span<const std::byte> bytes, const std::string& name) {
  using namespace std::string_view_literals;
  require(
      !begins(bytes, "\x80\x02\x8a\x0a"sv), name,
      ": written by torch.save in the format from before PyTorch 1.6, which is not read; load it there and "
      "save it again, best as safetensors");
  require(begins(bytes, "PK"), name, ": not a PyTorch file: it is no zip archive");
  const Entries entries = stored_entries(bytes, name);
  const std::string folder = archive_folder(entries, name);
  const auto order = entries.find(folder + "byteorder");
  require(order == entries.end() || as_text(order->second) == "little", name,
          ": written on a big-endian machine; only little-endian files are read");
  StoredTensors tensors;
  for (PickledTensor& pickled : unpickle(entries.at(folder + "data.pkl"), name)) {
    const std::string where = cat(name, ": ", pickled.name);
    const auto storage = entries.find(cat(folder, "data/", pickled.storage));
    require(storage != entries.end(), where, ": the archive lacks its storage ", pickled.storage);
    tensors.emplace(pickled.name, stored(pickled, storage->second, where));
  }
  return tensors;
}

StoredTensors read_torch_file(const std::filesystem::path& path) {
  const auto mapped = std::make_shared<const MappedFile>(path);
  StoredTensors tensors = parse_torch_file(mapped->bytes(), path.string());
  for (auto& [name, tensor] : tensors) tensor.file = mapped;
  return tensors;
}

}  // namespace kvviz
