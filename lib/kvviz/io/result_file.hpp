// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "kvviz/core/atomic_file.hpp"

namespace kvviz::io {

class Hdf5File;

/// The schema of result array files: docs/result_file.md.
inline constexpr int array_schema = 1;

/// What an array is: shown beside it, never computed with.
struct ArrayMeta {
  std::string name;               ///< path in the file without the leading slash: "attention/column_mass"
  std::vector<std::string> axes;  ///< one name per dimension: {"layer", "head", "key"}
  std::string unit;               ///< "nats", "tokens", ...; empty: a plain number
  std::string meaning;            ///< one line
};

/// Writes the large arrays of a result to HDF5 (`results/<command>.h5`), array by array, so that no two have
/// to be in memory together. The file appears with commit(), or not at all. The same arrays give the same
/// bytes.
class ArrayFileWriter {
 public:
  /// Throws DataError when the folder is not writable.
  ArrayFileWriter(const std::filesystem::path& file, const std::string& command);
  ~ArrayFileWriter();
  /// Row-major `values` of the given shape. Throws DataError: the shape does not fit the values or the axes,
  /// the name is empty or taken, the disk is full.
  void add(const ArrayMeta& meta, std::span<const int64_t> shape, std::span<const float> values);
  void add(const ArrayMeta& meta, std::span<const int64_t> shape, std::span<const double> values);
  void add(const ArrayMeta& meta, std::span<const int64_t> shape, std::span<const int32_t> values);
  void add(const ArrayMeta& meta, std::span<const int64_t> shape, std::span<const int64_t> values);
  void commit();

 private:
  template <class T>
  void add_array(const ArrayMeta& meta, std::span<const int64_t> shape, std::span<const T> values);
  AtomicFile target_;
  std::unique_ptr<Hdf5File> file_;
};

struct NamedArray {
  ArrayMeta meta;
  std::vector<int64_t> shape;
  std::variant<std::vector<float>, std::vector<double>, std::vector<int32_t>, std::vector<int64_t>> values;
};

/// Names of all arrays in a file, in alphabetical order. Throws DataError: not a file of this kind, damaged.
std::vector<std::string> list_arrays(const std::filesystem::path& file);

/// One array, with a name for each of its axes. Throws DataError: no array of that name (lists those there),
/// damaged.
NamedArray read_array(const std::filesystem::path& file, const std::string& name);

}  // namespace kvviz::io
