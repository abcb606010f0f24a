// SPDX-License-Identifier: MIT
#include "kvviz/io/result_file.hpp"

#include "kvviz/core/error.hpp"
#include "kvviz/core/version.hpp"
#include "kvviz/io/child_trial.hpp"
#include "kvviz/io/hdf5.hpp"

namespace kvviz::io {
namespace fs = std::filesystem;
namespace {

template <class T>
constexpr Element element_of() {
  if constexpr (std::is_same_v<T, float>) return Element::f32;
  if constexpr (std::is_same_v<T, double>) return Element::f64;
  if constexpr (std::is_same_v<T, int32_t>) return Element::i32;
  if constexpr (std::is_same_v<T, int64_t>) return Element::i64;
}

Hdf5File open_arrays(const fs::path& path) {
  Hdf5File file = Hdf5File::open(path);
  const auto schema = file.int_attribute("/", "kvviz_array_schema");
  require(schema.has_value(), file.name(),
          ": the root attribute kvviz_array_schema is missing: ", "not a file of result arrays");
  require(*schema >= 1 && *schema <= array_schema, file.name(), ": got array schema ", *schema,
          "; this kvviz reads up to ", array_schema);
  return file;
}

// Groups inside groups, as deep as any name here goes: a damaged file may link to itself.
constexpr int deepest_group = 8;
constexpr size_t most_arrays = 10000;

void collect_arrays(const Hdf5File& file, const std::string& group, int depth,
                    std::vector<std::string>& names) {
  require(depth < deepest_group, file.name(), ": ", group, ": groups are nested deeper than ", deepest_group);
  for (const std::string& member : file.members(group)) {
    const std::string object = cat(group == "/" ? "" : group, '/', member);
    if (file.is_group(object)) {
      collect_arrays(file, object, depth + 1, names);
    } else {
      require(names.size() < most_arrays, file.name(), ": more than ", most_arrays, " arrays");
      names.push_back(object.substr(1));
    }
  }
}

std::vector<std::string> names_in(const Hdf5File& file) {
  std::vector<std::string> names;
  collect_arrays(file, "/", 0, names);
  return names;
}

template <class T>
std::vector<T> read_values(const Hdf5File& file, const std::string& name, const Hdf5File::Info& info) {
  file.check_stored(name, info);
  std::vector<T> values(static_cast<size_t>(info.count()));
  if (!values.empty()) file.read(name, element_of<T>(), values.data());
  return values;
}

NamedArray array_in(const Hdf5File& file, const std::string& name) {
  const std::string object = '/' + name;
  if (name.empty() || !file.has(object) || file.is_group(object)) {
    std::string known;
    for (const std::string& other : names_in(file)) known += cat(known.empty() ? "" : ", ", other);
    throw DataError(
        cat(file.name(), ": no array is named \"", name, "\"; it has ", known.empty() ? "none" : known));
  }
  const Hdf5File::Info info = file.info(object);
  NamedArray array{.meta = {.name = name,
                            .axes = file.texts_attribute(object, "axes"),
                            .unit = file.text_attribute(object, "unit").value_or(""),
                            .meaning = file.text_attribute(object, "meaning").value_or("")},
                   .shape = info.shape,
                   .values = {}};
  require(array.meta.axes.size() == array.shape.size(), file.name(), ": ", object, ": got ",
          array.meta.axes.size(), " names of axes; expected one for each of the ", array.shape.size(),
          " dimensions");
  switch (info.element) {
    case Element::f32:
      array.values = read_values<float>(file, object, info);
      break;
    case Element::f64:
      array.values = read_values<double>(file, object, info);
      break;
    case Element::i32:
      array.values = read_values<int32_t>(file, object, info);
      break;
    case Element::i64:
      array.values = read_values<int64_t>(file, object, info);
      break;
    default:
      throw DataError(cat(file.name(), ": ", object, ": got ", info.type, "; expected f32, f64, i32 or i64"));
  }
  return array;
}

}  // namespace

ArrayFileWriter::ArrayFileWriter(const fs::path& file, const std::string& command)
    : target_(file), file_(std::make_unique<Hdf5File>(Hdf5File::create(target_.temporary(), file))) {
  file_->write_attribute("/", "kvviz_array_schema", int64_t{array_schema});
  file_->write_attribute("/", "kvviz_version", version);
  file_->write_attribute("/", "command", command);
}

ArrayFileWriter::~ArrayFileWriter() = default;

template <class T>
void ArrayFileWriter::add_array(const ArrayMeta& meta, std::span<const int64_t> shape,
                                std::span<const T> values) {
  const std::string object = '/' + meta.name;
  require(!meta.name.empty() && meta.name.front() != '/' && meta.name.back() != '/', "array name \"",
          meta.name, "\": expected a path without a slash at either end");
  require(!file_->has(object), "two arrays are named ", meta.name);
  require(shape.size() == meta.axes.size(), "array ", meta.name, ": got ", shape.size(), " dimensions and ",
          meta.axes.size(), " axis names");
  int64_t count = 1;
  for (const int64_t n : shape) count *= n;
  require(count == static_cast<int64_t>(values.size()), "array ", meta.name, ": the shape has ", count,
          " elements but ", values.size(), " values were given");

  const size_t slash = meta.name.rfind('/');
  if (slash != std::string::npos) file_->make_group('/' + meta.name.substr(0, slash));
  file_->write(object, shape, element_of<T>(), values.data(), {});
  if (!meta.axes.empty()) file_->write_attribute(object, "axes", std::span<const std::string>(meta.axes));
  file_->write_attribute(object, "unit", meta.unit);
  file_->write_attribute(object, "meaning", meta.meaning);
}

void ArrayFileWriter::add(const ArrayMeta& meta, std::span<const int64_t> shape,
                          std::span<const float> values) {
  add_array(meta, shape, values);
}
void ArrayFileWriter::add(const ArrayMeta& meta, std::span<const int64_t> shape,
                          std::span<const double> values) {
  add_array(meta, shape, values);
}
void ArrayFileWriter::add(const ArrayMeta& meta, std::span<const int64_t> shape,
                          std::span<const int32_t> values) {
  add_array(meta, shape, values);
}
void ArrayFileWriter::add(const ArrayMeta& meta, std::span<const int64_t> shape,
                          std::span<const int64_t> values) {
  add_array(meta, shape, values);
}

void ArrayFileWriter::commit() {
  file_->close();
  target_.commit();
}

std::vector<std::string> list_arrays(const fs::path& file) {
  const auto work = [&] { return names_in(open_arrays(file)); };
  if (!has_checksums(file)) try_in_child(file, work);
  return work();
}

NamedArray read_array(const fs::path& file, const std::string& name) {
  const auto work = [&] { return array_in(open_arrays(file), name); };
  if (!has_checksums(file)) try_in_child(file, work);
  return work();
}

}  // namespace kvviz::io
