// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvviz::io {

/// What one element of a numeric dataset is. f16 is IEEE half. `other`: anything that kvviz does not read.
enum class Element { f16, f32, f64, i32, i64, other };

/// "f16", "f32", "f64", "i32", "i64", "another type".
std::string_view element_name(Element element);
int64_t element_bytes(Element element);

/// Whether all metadata of a file carries checksums, as far as HDF5 makes any: its format is that of HDF5 1.8
/// or later. The library itself may crash on other files when they are damaged. Looks at the first bytes;
/// false for what is no HDF5 file.
bool has_checksums(const std::filesystem::path& file);

/// An open HDF5 file; objects are named by their absolute path ("/layers/0000/key").
///
/// Files are written in the HDF5 1.10 format: all metadata carries checksums, every dataset is chunked and
/// carries Fletcher-32 checksums, strings have a fixed length (variable-length strings live outside every
/// checksum), no time stamps are stored. So a damaged file is noticed, and the same content gives the same
/// bytes.
///
/// Every function throws DataError with the file, the object and the reason HDF5 gives. HDF5 is not called
/// from two threads at a time: that is the caller's duty.
class Hdf5File {
 public:
  /// A new file in place of what is there. `shown` names it in messages; empty: its own name.
  static Hdf5File create(const std::filesystem::path& file, const std::filesystem::path& shown = {});
  /// An existing file, to read, remembered as an input (file_identity.hpp). Throws DataError: missing,
  /// unreadable, not HDF5, truncated or damaged.
  static Hdf5File open(const std::filesystem::path& file);
  ~Hdf5File();
  Hdf5File(Hdf5File&& other) noexcept;
  Hdf5File& operator=(Hdf5File&&) = delete;

  /// Flushes and closes; only now is a full disk certain not to have happened. Not needed after reading.
  void close();
  const std::string& name() const { return name_; }

  bool has(const std::string& object) const;
  /// Names in a group, in alphabetical order.
  std::vector<std::string> members(const std::string& group) const;
  bool is_group(const std::string& object) const;
  /// Makes the group and those above it.
  void make_group(const std::string& group);

  /// Shape, element and stored size of a numeric dataset; nothing is read.
  struct Info {
    std::vector<int64_t> shape;
    Element element = Element::other;
    std::string type;          ///< as a reader knows it: "f32", "a string", "8-byte unsigned integer"
    int64_t element_size = 0;  ///< bytes of one element in the file
    int64_t stored_bytes = 0;  ///< in the file, compressed or not
    bool filtered = false;     ///< compressed or check-summed
    int64_t count() const;     ///< elements; throws nothing, saturates at INT64_MAX
  };
  Info info(const std::string& dataset) const;

  struct Layout {
    std::vector<int64_t> chunk;  ///< as long as the shape; empty: the whole array, cut to at most 8 MiB
    int gzip = 0;                ///< 0: not compressed, 1 (fast) to 9 (small)
  };
  void write(const std::string& dataset, std::span<const int64_t> shape, Element element, const void* data,
             const Layout& layout);
  /// Reads all of a dataset into `out`, which holds info(dataset).count() elements of type `element`. Before
  /// anything is read the stored size is checked against the shape, so a file cannot claim more than it
  /// holds.
  void read(const std::string& dataset, Element element, void* out) const;
  /// Throws DataError when the dataset's claimed size cannot come from what the file stores.
  void check_stored(const std::string& dataset, const Info& info) const;

  /// One-dimensional UTF-8 strings. A zero byte is written as "<0x00>". Reading takes fixed and variable
  /// length.
  void write_strings(const std::string& dataset, std::span<const std::string> strings);
  std::vector<std::string> read_strings(const std::string& dataset) const;

  void write_attribute(const std::string& object, const std::string& attribute, int64_t value);
  void write_attribute(const std::string& object, const std::string& attribute, double value);
  void write_attribute(const std::string& object, const std::string& attribute, std::string_view value);
  void write_attribute(const std::string& object, const std::string& attribute,
                       std::span<const std::string> values);
  /// nullopt: the object has no such attribute. Throws DataError when it has another type.
  std::optional<int64_t> int_attribute(const std::string& object, const std::string& attribute) const;
  std::optional<double> real_attribute(const std::string& object, const std::string& attribute) const;
  std::optional<std::string> text_attribute(const std::string& object, const std::string& attribute) const;
  std::vector<std::string> texts_attribute(const std::string& object, const std::string& attribute) const;

 private:
  Hdf5File(int64_t id, std::string name) : id_(id), name_(std::move(name)) {}
  /// "file: object: what", the beginning of every message.
  std::string context(const std::string& object, std::string_view what) const;

  int64_t id_ = -1;
  std::string name_;
};

}  // namespace kvviz::io
