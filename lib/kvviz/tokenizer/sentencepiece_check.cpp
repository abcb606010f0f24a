// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/sentencepiece_check.hpp"

#include <cstdint>
#include <cstring>
#include <vector>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

/// The fields of a protobuf message (https://protobuf.dev/programming-guides/encoding).
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  bool next() {
    bytes_ = {};
    if (rest_.empty()) return false;
    const uint64_t tag = varint();
    number_ = tag >> 3;
    switch (tag & 7) {
      case 0:
        varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        bytes_ = take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        throw DataError("it is not a protobuf message: a field has no known kind");
    }
    return true;
  }

  uint64_t number() const { return number_; }
  std::string_view bytes() const { return bytes_; }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1).front());
      value |= uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    throw DataError("it is not a protobuf message: a number does not end");
  }

  std::string_view take(uint64_t size) {
    require(size <= rest_.size(), "it is not a protobuf message: a field of ", size, " bytes with ",
            rest_.size(), " left");
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::string_view rest_;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

// A unit of a double-array trie as Darts-clone stores it.
struct Unit {
  uint32_t bits;

  bool has_leaf() const { return (bits >> 8 & 1) != 0; }
  uint32_t value() const { return bits & 0x7FFFFFFF; }
  uint32_t label() const { return bits & 0x800000FF; }
  uint32_t offset() const { return bits >> 10 << ((bits & 1U << 9) >> 6); }
};

/// Walks the trie by every label, as any text could.
class TrieCheck {
 public:
  TrieCheck(std::string_view units, std::string_view texts) : texts_(texts), units_(units.size() / 4) {
    if (!units_.empty()) std::memcpy(units_.data(), units.data(), units_.size() * 4);
    seen_.resize(units_.size());
  }

  void run() {
    require(!units_.empty() && !texts_.empty() && texts_.back() == '\0',
            "the table of its normaliser is without units, or its texts do not end");
    visit(units_[0].offset());
    while (!open_.empty()) {
      const uint32_t base = open_.back();
      open_.pop_back();
      for (uint32_t label = 0; label < 256; ++label) step(base, label);
    }
  }

 private:
  void step(uint32_t base, uint32_t label) {
    const uint32_t place = base ^ label;
    const Unit unit = units_[place];
    if (unit.label() != label) return;
    const uint32_t next = place ^ unit.offset();
    visit(next);
    if (!unit.has_leaf()) return;
    require(units_[next].value() < texts_.size(), "the table of its normaliser points to a text at ",
            units_[next].value(), " of ", texts_.size(), " bytes");
  }

  // The library looks at the place of any next byte before it compares.
  void visit(uint32_t base) {
    require((base | 0xFFU) < units_.size(), "the table of its normaliser leads to unit ", base | 0xFFU,
            " of ", units_.size());
    if (seen_[base]) return;
    seen_[base] = true;
    open_.push_back(base);
  }

  std::string_view texts_;
  std::vector<Unit> units_;
  std::vector<bool> seen_;
  std::vector<uint32_t> open_;
};

void check_table(std::string_view table) {
  if (table.empty()) return;
  uint32_t size = 0;
  require(table.size() > sizeof size, "the table of its normaliser is cut");
  std::memcpy(&size, table.data(), sizeof size);
  table.remove_prefix(sizeof size);
  require(size < table.size(), "the table of its normaliser has ", table.size(), " bytes for a trie of ",
          size);
  TrieCheck(table.substr(0, size), table.substr(size)).run();
}

}  // namespace

void check_sentencepiece(std::string_view model) {
  constexpr uint64_t normalizer_spec = 3;
  constexpr uint64_t denormalizer_spec = 5;
  constexpr uint64_t precompiled_charsmap = 2;
  for (Fields fields(model); fields.next();) {
    if (fields.number() != normalizer_spec && fields.number() != denormalizer_spec) continue;
    for (Fields spec(fields.bytes()); spec.next();) {
      if (spec.number() == precompiled_charsmap) check_table(spec.bytes());
    }
  }
}

}  // namespace kvviz
