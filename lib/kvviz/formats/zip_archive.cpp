// SPDX-License-Identifier: MIT
#include "kvviz/formats/zip_archive.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

// Records and field offsets of APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3.
constexpr uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50,
                   end64_signature = 0x06064b50, locator_signature = 0x07064b50;
constexpr uint64_t local_size = 30, central_size = 46, end_size = 22, end64_size = 56, locator_size = 20;
constexpr uint64_t longest_comment = 65535;
constexpr uint32_t in_zip64 = 0xffffffff;
constexpr uint16_t zip64_field = 1, stored = 0, encrypted = 1;

using Entries = std::map<std::string, std::span<const std::byte>>;

struct Directory {
  uint64_t entries = 0, size = 0, offset = 0;
};

struct CentralEntry {
  std::string name;
  uint64_t packed = 0, size = 0, header = 0;
};

class Archive {
 public:
  Archive(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  Entries entries() const {
    const Directory directory = find_directory();
    Entries found;
    uint64_t at = directory.offset;
    for (uint64_t i = 0; i < directory.entries; ++i) {
      const CentralEntry entry = central_entry(at);
      require(found.emplace(entry.name, data(entry)).second, file_, ": the entry ", entry.name,
              " stands twice");
    }
    return found;
  }

 private:
  template <class T>
  T number(uint64_t at) const {
    T value;
    std::memcpy(&value, part(at, sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::span<const std::byte> part(uint64_t at, uint64_t size) const {
    require(at <= bytes_.size() && size <= bytes_.size() - at, file_,
            ": the zip archive points outside the file; it is truncated or damaged");
    return bytes_.subspan(at, size);
  }

  uint64_t find_end() const {
    const uint64_t furthest = std::min<uint64_t>(bytes_.size(), end_size + longest_comment);
    for (uint64_t back = end_size; back <= furthest; ++back)
      if (number<uint32_t>(bytes_.size() - back) == end_signature) return bytes_.size() - back;
    throw DataError(cat(file_, ": not a zip archive, or one that is truncated: it has no central directory"));
  }

  Directory find_directory() const {
    const uint64_t end = find_end();
    require(number<uint16_t>(end + 4) == 0 && number<uint16_t>(end + 6) == 0, file_,
            ": a zip archive in several parts");
    Directory directory{number<uint16_t>(end + 10), number<uint32_t>(end + 12), number<uint32_t>(end + 16)};
    if (end >= locator_size && number<uint32_t>(end - locator_size) == locator_signature) {
      const auto end64 = number<uint64_t>(end - locator_size + 8);
      require(part(end64, end64_size).size() == end64_size && number<uint32_t>(end64) == end64_signature,
              file_, ": the zip64 directory of the archive is damaged");
      directory = {number<uint64_t>(end64 + 32), number<uint64_t>(end64 + 40), number<uint64_t>(end64 + 48)};
    }
    require(part(directory.offset, directory.size).size() / central_size >= directory.entries, file_,
            ": the zip archive claims ", directory.entries, " entries in a directory of ", directory.size,
            " bytes");
    return directory;
  }

  // Reads the entry at `at` and moves `at` behind it.
  CentralEntry central_entry(uint64_t& at) const {
    require(number<uint32_t>(at) == central_signature, file_,
            ": the directory of the zip archive is damaged");
    const uint64_t name_size = number<uint16_t>(at + 28), extra_size = number<uint16_t>(at + 30),
                   comment_size = number<uint16_t>(at + 32);
    const auto name = part(at + central_size, name_size);
    CentralEntry entry{std::string(reinterpret_cast<const char*>(name.data()), name.size()),
                       number<uint32_t>(at + 20), number<uint32_t>(at + 24), number<uint32_t>(at + 42)};
    require((number<uint16_t>(at + 8) & encrypted) == 0, file_, ": the entry ", entry.name, " is encrypted");
    require(number<uint16_t>(at + 10) == stored, file_, ": the entry ", entry.name,
            " is compressed; PyTorch stores entries as they are");
    widen(entry, part(at + central_size + name_size, extra_size));
    require(entry.packed == entry.size, file_, ": the stored entry ", entry.name, " has two sizes");
    at += central_size + name_size + extra_size + comment_size;
    return entry;
  }

  // Fields that do not fit 32 bits stand in the zip64 extra field, in this order, each only if it does not
  // fit.
  void widen(CentralEntry& entry, std::span<const std::byte> extra) const {
    const std::span<const std::byte> field = zip64_extra(extra);
    uint64_t at = 0;
    for (uint64_t* value : {&entry.size, &entry.packed, &entry.header}) {
      if (*value != in_zip64) continue;
      require(at + 8 <= field.size(), file_, ": the entry ", entry.name, " lacks its zip64 sizes");
      std::memcpy(value, field.data() + at, 8);
      at += 8;
    }
  }

  static std::span<const std::byte> zip64_extra(std::span<const std::byte> extra) {
    while (extra.size() >= 4) {
      uint16_t id = 0, size = 0;
      std::memcpy(&id, extra.data(), 2);
      std::memcpy(&size, extra.data() + 2, 2);
      const auto rest = extra.subspan(4);
      if (size > rest.size()) break;
      if (id == zip64_field) return rest.first(size);
      extra = rest.subspan(size);
    }
    return {};
  }

  std::span<const std::byte> data(const CentralEntry& entry) const {
    const auto header = part(entry.header, local_size);
    require(number<uint32_t>(entry.header) == local_signature, file_, ": the entry ", entry.name,
            " does not begin where the directory says");
    uint16_t name_size = 0, extra_size = 0;
    std::memcpy(&name_size, header.data() + 26, 2);
    std::memcpy(&extra_size, header.data() + 28, 2);
    return part(entry.header + local_size + name_size + extra_size, entry.size);
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
};

}  // namespace

Entries stored_entries(std::span<const std::byte> bytes, const std::string& file) {
  return Archive(bytes, file).entries();
}

}  // namespace kvviz
