// SPDX-License-Identifier: MIT
// Strings and attributes of an Hdf5File.
#include <algorithm>

#include "kvviz/io/child_trial.hpp"
#include "kvviz/io/hdf5.hpp"
#include "kvviz/io/hdf5_handle.hpp"

namespace kvviz::io {
namespace {

// Zero-padded strings side by side, as HDF5 stores fixed-length ones.
struct Packed {
  std::string bytes;
  size_t width = 1;
};

Packed pack(std::span<const std::string> strings) {
  std::vector<std::string> clean;
  Packed packed;
  for (const std::string& s : strings) {
    clean.push_back(without_zero_bytes(s));
    packed.width = std::max(packed.width, clean.back().size());
  }
  for (const std::string& s : clean) packed.bytes.append(s).append(packed.width - s.size(), '\0');
  return packed;
}

std::vector<std::string> unpack(const std::string& bytes, size_t width) {
  std::vector<std::string> strings;
  for (size_t i = 0; i < bytes.size(); i += width) {
    const std::string_view cell(bytes.data() + i, width);
    strings.emplace_back(cell.substr(0, cell.find('\0')));
  }
  return strings;
}

constexpr size_t most_strings = size_t{1} << 28;
constexpr size_t most_bytes = size_t{1} << 32;

struct ReadStrings {
  const std::string& file;
  hid_t type, space;
  herr_t (*read)(hid_t object, hid_t memory, void* out);
};

std::vector<std::string> strings_of(hid_t object, const ReadStrings& how, std::string_view what) {
  require(H5Tget_class(how.type) == H5T_STRING, what, ": expected strings");
  const auto count = static_cast<size_t>(hdf5_checked(H5Sget_simple_extent_npoints(how.space), what));
  require(count <= most_strings, what, ": it claims ", count, " strings");
  if (hdf5_checked(H5Tis_variable_str(how.type), what) > 0) {
    const Handle memory = string_type(0, what);
    hdf5_checked(H5Tset_cset(memory, H5Tget_cset(how.type)), what);
    std::vector<char*> cells(count, nullptr);
    // They stand outside of every checksum, in files of any format.
    if (has_checksums(how.file)) try_in_child(how.file, [&] { how.read(object, memory, cells.data()); });
    hdf5_checked(how.read(object, memory, cells.data()), what);
    std::vector<std::string> strings;
    for (const char* cell : cells) strings.emplace_back(cell == nullptr ? "" : cell);
    H5Dvlen_reclaim(memory, how.space, H5P_DEFAULT, cells.data());
    return strings;
  }
  const size_t width = H5Tget_size(how.type);
  require(width > 0 && width <= most_bytes / std::max<size_t>(count, 1), what, ": it claims ", count,
          " strings of ", width, " bytes");
  const Handle memory = string_type(width, what);
  hdf5_checked(H5Tset_cset(memory, H5Tget_cset(how.type)), what);
  std::string bytes(count * width, '\0');
  if (count > 0) hdf5_checked(how.read(object, memory, bytes.data()), what);
  return unpack(bytes, width);
}

void replace_attribute(hid_t object, const std::string& name, std::string_view what) {
  if (hdf5_checked(H5Aexists(object, name.c_str()), what) > 0)
    hdf5_checked(H5Adelete(object, name.c_str()), what);
}

// A number as it is stored, and as it is held.
struct Number {
  hid_t stored, memory;
  const void* value;
};

void write_number(hid_t object, const std::string& attribute, const Number& number, std::string_view what) {
  replace_attribute(object, attribute, what);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose, what);
  const Handle made(H5Acreate2(object, attribute.c_str(), number.stored, space, H5P_DEFAULT, H5P_DEFAULT),
                    H5Aclose, what);
  hdf5_checked(H5Awrite(made, number.memory, number.value), what);
}

}  // namespace

Handle string_type(size_t bytes, std::string_view context) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, context);
  hdf5_checked(H5Tset_size(type, bytes == 0 ? H5T_VARIABLE : bytes), context);
  hdf5_checked(H5Tset_cset(type, H5T_CSET_UTF8), context);
  if (bytes > 0) hdf5_checked(H5Tset_strpad(type, H5T_STR_NULLPAD), context);
  return type;
}

std::string without_zero_bytes(std::string_view text) {
  std::string clean;
  for (const char c : text) {
    if (c == '\0') {
      clean += "<0x00>";
    } else {
      clean += c;
    }
  }
  return clean;
}

void Hdf5File::write_strings(const std::string& dataset, std::span<const std::string> strings) {
  const std::string what = context(dataset, "cannot be written");
  const Packed packed = pack(strings);
  const Handle type = string_type(packed.width, what);
  const hsize_t count = strings.size();
  const Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose, what);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, what);
  hdf5_checked(H5Pset_obj_track_times(creation, false), what);
  if (count > 0) {
    const hsize_t chunk = std::min<hsize_t>(count, 65536);
    hdf5_checked(H5Pset_chunk(creation, 1, &chunk), what);
    // One long piece widens every cell; the zeros it adds compress away.
    hdf5_checked(H5Pset_deflate(creation, 1), what);
    hdf5_checked(H5Pset_fletcher32(creation), what);
  }
  const Handle id(H5Dcreate2(id_, dataset.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT), H5Dclose,
                  what);
  if (count > 0) hdf5_checked(H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, packed.bytes.data()), what);
  hdf5_checked(H5Dflush(id), what);
}

std::vector<std::string> Hdf5File::read_strings(const std::string& dataset) const {
  const Info shape = info(dataset);
  require(shape.shape.size() == 1, context(dataset, "got an array of rank "), shape.shape.size(),
          "; expected a list of strings");
  check_stored(dataset, shape);
  const std::string what = context(dataset, "cannot be read");
  const Handle id(H5Dopen2(id_, dataset.c_str(), H5P_DEFAULT), H5Dclose, what);
  const Handle type(H5Dget_type(id), H5Tclose, what);
  const Handle space(H5Dget_space(id), H5Sclose, what);
  const auto read = [](hid_t from, hid_t memory, void* out) {
    return H5Dread(from, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, out);
  };
  return strings_of(id, {name_, type, space, read}, what);
}

void Hdf5File::write_attribute(const std::string& object, const std::string& attribute, int64_t value) {
  const std::string what = context(object, cat("attribute ", attribute, ": cannot be written"));
  const Handle id(H5Oopen(id_, object.c_str(), H5P_DEFAULT), H5Oclose, what);
  write_number(id, attribute, {H5T_STD_I64LE, H5T_NATIVE_INT64, &value}, what);
}

void Hdf5File::write_attribute(const std::string& object, const std::string& attribute, double value) {
  const std::string what = context(object, cat("attribute ", attribute, ": cannot be written"));
  const Handle id(H5Oopen(id_, object.c_str(), H5P_DEFAULT), H5Oclose, what);
  write_number(id, attribute, {H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value}, what);
}

void Hdf5File::write_attribute(const std::string& object, const std::string& attribute,
                               std::string_view value) {
  const std::string what = context(object, cat("attribute ", attribute, ": cannot be written"));
  const Handle id(H5Oopen(id_, object.c_str(), H5P_DEFAULT), H5Oclose, what);
  replace_attribute(id, attribute, what);
  const std::string text = without_zero_bytes(value);
  const Handle type = string_type(std::max<size_t>(text.size(), 1), what);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose, what);
  const Handle made(H5Acreate2(id, attribute.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose, what);
  hdf5_checked(H5Awrite(made, type, text.c_str()), what);
}

void Hdf5File::write_attribute(const std::string& object, const std::string& attribute,
                               std::span<const std::string> values) {
  const std::string what = context(object, cat("attribute ", attribute, ": cannot be written"));
  const Handle id(H5Oopen(id_, object.c_str(), H5P_DEFAULT), H5Oclose, what);
  replace_attribute(id, attribute, what);
  const Packed packed = pack(values);
  const Handle type = string_type(packed.width, what);
  const hsize_t count = values.size();
  const Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose, what);
  const Handle made(H5Acreate2(id, attribute.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose, what);
  if (count > 0) hdf5_checked(H5Awrite(made, type, packed.bytes.data()), what);
}

std::optional<int64_t> Hdf5File::int_attribute(const std::string& object,
                                               const std::string& attribute) const {
  const std::string what = context(object, cat("attribute ", attribute, ": cannot be read"));
  const Handle id(H5Oopen(id_, object.c_str(), H5P_DEFAULT), H5Oclose, what);
  if (hdf5_checked(H5Aexists(id, attribute.c_str()), what) == 0) return std::nullopt;
  const Handle found(H5Aopen(id, attribute.c_str(), H5P_DEFAULT), H5Aclose, what);
  const Handle type(H5Aget_type(found), H5Tclose, what);
  const Handle space(H5Aget_space(found), H5Sclose, what);
  require(H5Tget_class(type) == H5T_INTEGER && H5Sget_simple_extent_npoints(space) == 1, what,
          ": expected one integer");
  int64_t value = 0;
  hdf5_checked(H5Aread(found, H5T_NATIVE_INT64, &value), what);
  return value;
}

std::optional<double> Hdf5File::real_attribute(const std::string& object,
                                               const std::string& attribute) const {
  const std::string what = context(object, cat("attribute ", attribute, ": cannot be read"));
  const Handle id(H5Oopen(id_, object.c_str(), H5P_DEFAULT), H5Oclose, what);
  if (hdf5_checked(H5Aexists(id, attribute.c_str()), what) == 0) return std::nullopt;
  const Handle found(H5Aopen(id, attribute.c_str(), H5P_DEFAULT), H5Aclose, what);
  const Handle type(H5Aget_type(found), H5Tclose, what);
  const Handle space(H5Aget_space(found), H5Sclose, what);
  const H5T_class_t kind = H5Tget_class(type);
  require((kind == H5T_FLOAT || kind == H5T_INTEGER) && H5Sget_simple_extent_npoints(space) == 1, what,
          ": expected one number");
  double value = 0;
  hdf5_checked(H5Aread(found, H5T_NATIVE_DOUBLE, &value), what);
  return value;
}

std::vector<std::string> Hdf5File::texts_attribute(const std::string& object,
                                                   const std::string& attribute) const {
  const std::string what = context(object, cat("attribute ", attribute, ": cannot be read"));
  const Handle id(H5Oopen(id_, object.c_str(), H5P_DEFAULT), H5Oclose, what);
  if (hdf5_checked(H5Aexists(id, attribute.c_str()), what) == 0) return {};
  const Handle found(H5Aopen(id, attribute.c_str(), H5P_DEFAULT), H5Aclose, what);
  const Handle type(H5Aget_type(found), H5Tclose, what);
  const Handle space(H5Aget_space(found), H5Sclose, what);
  const auto read = [](hid_t from, hid_t memory, void* out) { return H5Aread(from, memory, out); };
  return strings_of(found, {name_, type, space, read}, what);
}

std::optional<std::string> Hdf5File::text_attribute(const std::string& object,
                                                    const std::string& attribute) const {
  std::vector<std::string> values = texts_attribute(object, attribute);
  if (values.empty()) return std::nullopt;
  require(values.size() == 1, context(object, cat("attribute ", attribute, ": got ")), values.size(),
          " strings; expected one");
  return std::move(values.front());
}

}  // namespace kvviz::io
