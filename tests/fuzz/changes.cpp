// SPDX-License-Identifier: MIT
#include "changes.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>

namespace kvviz::test {
namespace {

class Damage {
 public:
  Damage(std::string bytes, uint64_t seed) : bytes_(std::move(bytes)), random_(seed) {}

  std::string done() {
    for (uint64_t left = below(2) == 0 ? 1 : 2 + below(3); left > 0 && !bytes_.empty(); --left) once();
    return std::move(bytes_);
  }

 private:
  uint64_t below(uint64_t end) { return end == 0 ? 0 : random_() % end; }
  size_t place() { return below(bytes_.size()); }

  struct Part {
    size_t at, length;
  };
  Part part() {
    const size_t at = place();
    const uint64_t longest = below(4) == 0 ? bytes_.size() : 32;
    return {at, std::min<size_t>(bytes_.size() - at, 1 + below(longest))};
  }

  void once() {
    switch (below(12)) {
      case 0:
        bytes_[place()] = static_cast<char>(random_());
        break;
      case 1:
        flip();
        break;
      case 2:
        nudge();
        break;
      case 3:
        fill();
        break;
      case 4:
        bytes_.resize(place());
        break;
      case 5:
        copy();
        break;
      case 6:
        remove();
        break;
      case 7:
        swap();
        break;
      case 8:
        integer<uint32_t>();
        break;
      case 9:
        integer<uint64_t>();
        break;
      case 10:
        digits();
        break;
      default:
        number();
    }
  }

  void flip() {
    const size_t at = place();
    bytes_[at] = static_cast<char>(bytes_[at] ^ (1 << below(8)));
  }
  void nudge() {
    const size_t at = place();
    bytes_[at] = static_cast<char>(bytes_[at] + (below(2) == 0 ? 1 : -1));
  }
  void fill() {
    static constexpr std::array values{'\0', '\xff', '\x7f'};
    const char value = values[below(values.size())];
    const Part p = part();
    bytes_.replace(p.at, p.length, p.length, value);
  }
  void copy() {
    const Part p = part();
    bytes_.insert(place(), bytes_.substr(p.at, std::min<size_t>(p.length, 4096)));
  }
  void remove() {
    const Part p = part();
    bytes_.erase(p.at, p.length);
  }
  void swap() {
    Part a = part(), b = part();
    if (a.at > b.at) std::swap(a, b);
    a.length = std::min(a.length, b.at - a.at);
    const std::string first = bytes_.substr(a.at, a.length), second = bytes_.substr(b.at, b.length);
    bytes_.replace(b.at, b.length, first);
    bytes_.replace(a.at, a.length, second);
  }

  // A length, a count or an offset: a little-endian integer that is not larger than the file.
  template <class T>
  void integer() {
    if (bytes_.size() < sizeof(T)) return flip();
    const size_t places = bytes_.size() - sizeof(T) + 1, start = below(places);
    for (size_t i = 0; i < std::min<size_t>(places, 256); ++i) {
      const size_t at = (start + i) % places;
      T value = 0;
      std::memcpy(&value, bytes_.data() + at, sizeof value);
      if (value == 0 || value > bytes_.size()) continue;
      const auto size = static_cast<T>(bytes_.size());
      const std::array<T, 12> others{0,
                                     1,
                                     static_cast<T>(value + 1),
                                     static_cast<T>(value - 1),
                                     static_cast<T>(value * 2),
                                     size,
                                     static_cast<T>(size - at),
                                     static_cast<T>(~T{0} >> 1),
                                     static_cast<T>(~T{0}),
                                     static_cast<T>(~T{0} - value + 1),
                                     static_cast<T>(T{1} << (sizeof(T) * 8 - 4)),
                                     static_cast<T>(T{1} << 30)};
      value = others[below(others.size())];
      std::memcpy(bytes_.data() + at, &value, sizeof value);
      return;
    }
    flip();
  }

  // The next digits behind a place, all of them; none: an empty part.
  Part next_digits() {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    const auto from = bytes_.begin() + static_cast<std::ptrdiff_t>(place());
    auto first = std::find_if(from, bytes_.end(), is_digit);
    if (first == bytes_.end()) first = std::find_if(bytes_.begin(), from, is_digit);
    const auto end = std::find_if_not(first, bytes_.end(), is_digit);
    return {static_cast<size_t>(first - bytes_.begin()), static_cast<size_t>(end - first)};
  }

  // Other digits, as many: what counts bytes still counts them right.
  void digits() {
    const Part p = next_digits();
    if (p.length == 0) return flip();
    const bool nines = below(2) == 0;
    for (size_t i = p.at; i < p.at + p.length; ++i)
      bytes_[i] = nines ? '9' : static_cast<char>('0' + below(10));
  }

  void number() {
    static constexpr std::array others{"0",
                                       "-1",
                                       "1",
                                       "65536",
                                       "2147483647",
                                       "-2147483648",
                                       "4294967296",
                                       "9223372036854775807",
                                       "-9223372036854775808",
                                       "18446744073709551615",
                                       "99999999999999999999999",
                                       "1e308",
                                       "1e999",
                                       "-1e999",
                                       "1e-320",
                                       "0.5",
                                       "NaN",
                                       "-Infinity",
                                       "nan",
                                       "inf",
                                       "null",
                                       "true",
                                       "\"7\"",
                                       "[]",
                                       "{}",
                                       ""};
    const Part p = next_digits();
    if (p.length == 0) return flip();
    bytes_.replace(p.at, p.length, others[below(others.size())]);
  }

  std::string bytes_;
  std::mt19937_64 random_;
};

}  // namespace

std::string changed(std::string bytes, uint64_t seed) {
  return Damage(std::move(bytes), seed).done();
}

}  // namespace kvviz::test
