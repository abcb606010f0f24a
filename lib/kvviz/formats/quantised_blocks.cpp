// SPDX-License-Identifier: MIT
#include "kvviz/formats/quantised_blocks.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

using Byte = uint8_t;

// Little-endian, as the machines that kvviz runs on.
uint16_t u16(const Byte* at) {
  uint16_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

float half(const Byte* at) {
  const uint32_t bits = u16(at), sign = (bits & 0x8000) << 16, rest = bits & 0x7fff;
  const float subnormal = static_cast<float>(rest) * 0x1p-24F;
  const uint32_t special = rest >= 0x7c00 ? 0x7f800000U : 0U;
  const uint32_t normal = ((rest << 13) + 0x38000000U) | special;
  return std::bit_cast<float>(sign | (rest < 0x400 ? std::bit_cast<uint32_t>(subnormal) : normal));
}

// Each format: values and bytes of a block, and one block widened.
struct Q8_0 {
  static constexpr int64_t elements = 32, bytes = 34;
  static void block(const Byte* in, float* out) {
    const float d = half(in);
    for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(in[2 + i]));
  }
};

// Values 0 to 15 are the low halves of 16 bytes, 16 to 31 the high ones.
template <int bias>
void nibbles(const Byte* q, float d, float m, float* out) {
  for (int i = 0; i < 16; ++i) out[i] = d * static_cast<float>((q[i] & 15) - bias) + m;
  for (int i = 0; i < 16; ++i) out[i + 16] = d * static_cast<float>((q[i] >> 4) - bias) + m;
}

// The same with a fifth bit each.
template <int bias>
void nibbles_and_bits(const Byte* q, uint32_t bits, float d, float m, float* out) {
  for (int i = 0; i < 16; ++i) {
    const int low = (q[i] & 15) | static_cast<int>((bits >> i & 1) << 4);
    const int high = (q[i] >> 4) | static_cast<int>((bits >> (i + 16) & 1) << 4);
    out[i] = d * static_cast<float>(low - bias) + m;
    out[i + 16] = d * static_cast<float>(high - bias) + m;
  }
}

uint32_t u32(const Byte* at) {
  uint32_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

struct Q4_0 {
  static constexpr int64_t elements = 32, bytes = 18;
  static void block(const Byte* in, float* out) { nibbles<8>(in + 2, half(in), 0, out); }
};
struct Q4_1 {
  static constexpr int64_t elements = 32, bytes = 20;
  static void block(const Byte* in, float* out) { nibbles<0>(in + 4, half(in), half(in + 2), out); }
};
struct Q5_0 {
  static constexpr int64_t elements = 32, bytes = 22;
  static void block(const Byte* in, float* out) {
    nibbles_and_bits<16>(in + 6, u32(in + 2), half(in), 0, out);
  }
};
struct Q5_1 {
  static constexpr int64_t elements = 32, bytes = 24;
  static void block(const Byte* in, float* out) {
    nibbles_and_bits<0>(in + 8, u32(in + 4), half(in), half(in + 2), out);
  }
};

// d times the scale and m times the minimum of group j of a Q4_K or Q5_K block: 6 bits each in 12 bytes, the
// upper two bits of groups 4 to 7 on top of those of groups 0 to 3.
struct GroupScale {
  float d, m;
};
GroupScale group_scale(const Byte* block, int j) {
  const Byte* packed = block + 4;
  const int scale = j < 4 ? packed[j] & 63 : (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
  const int minimum = j < 4 ? packed[j + 4] & 63 : packed[j + 4] >> 4 | packed[j] >> 6 << 4;
  return {half(block) * static_cast<float>(scale), half(block + 2) * static_cast<float>(minimum)};
}

struct Q4_K {
  static constexpr int64_t elements = 256, bytes = 144;
  static void block(const Byte* in, float* out) {
    for (int j = 0; j < 8; j += 2) {
      const GroupScale low = group_scale(in, j), top = group_scale(in, j + 1);
      const Byte* q = in + 16 + 16 * j;
      float* x = out + 32 * j;
      for (int i = 0; i < 32; ++i) x[i] = low.d * static_cast<float>(q[i] & 15) - low.m;
      for (int i = 0; i < 32; ++i) x[i + 32] = top.d * static_cast<float>(q[i] >> 4) - top.m;
    }
  }
};

struct Q5_K {
  static constexpr int64_t elements = 256, bytes = 176;
  static void block(const Byte* in, float* out) {
    const Byte* high = in + 16;
    for (int j = 0; j < 8; j += 2) {
      const GroupScale low = group_scale(in, j), top = group_scale(in, j + 1);
      const Byte* q = in + 48 + 16 * j;
      float* x = out + 32 * j;
      for (int i = 0; i < 32; ++i)
        x[i] = low.d * static_cast<float>((q[i] & 15) | (high[i] >> j & 1) << 4) - low.m;
      for (int i = 0; i < 32; ++i)
        x[i + 32] = top.d * static_cast<float>(q[i] >> 4 | (high[i] >> (j + 1) & 1) << 4) - top.m;
    }
  }
};

// Halves of 128 values: 64 bytes hold the low four bits of values 0 to 63 and 64 to 127, 32 bytes the upper
// two of four runs of 32.
struct Q6_K {
  static constexpr int64_t elements = 256, bytes = 210;
  static void block(const Byte* in, float* out) {
    const float d = half(in + 208);
    for (int run = 0; run < 8; ++run) {
      const Byte* low = in + run / 4 * 64 + run % 2 * 32;
      const Byte* high = in + 128 + run / 4 * 32;
      const int low_shift = run % 4 / 2 * 4, high_shift = run % 4 * 2;
      for (int part = 0; part < 2; ++part) {
        const float scale = d * static_cast<float>(static_cast<int8_t>(in[192 + 2 * run + part]));
        for (int i = 16 * part; i < 16 * part + 16; ++i) {
          const int q = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
          out[32 * run + i] = scale * static_cast<float>(q - 32);
        }
      }
    }
  }
};

// Values of two bits: 32 bytes hold four runs of 32.
int two_bits(const Byte* q, int run, int i) {
  return q[run / 4 * 32 + i] >> (run % 4 * 2) & 3;
}

struct Q2_K {
  static constexpr int64_t elements = 256, bytes = 84;
  static void block(const Byte* in, float* out) {
    const float d = half(in + 80), m = half(in + 82);
    for (int group = 0; group < 16; ++group) {
      const float scale = d * static_cast<float>(in[group] & 15);
      const float minimum = m * static_cast<float>(in[group] >> 4);
      for (int i = group % 2 * 16; i < group % 2 * 16 + 16; ++i)
        out[group / 2 * 32 + i] = scale * static_cast<float>(two_bits(in + 16, group / 2, i)) - minimum;
    }
  }
};

// The third bit of a value, in the 32 bytes in front, takes 4 off where it is not set. Of the 6 bits of a
// scale four stand in bytes 0 to 7 of the 12, two in the others.
struct Q3_K {
  static constexpr int64_t elements = 256, bytes = 110;
  static void block(const Byte* in, float* out) {
    const Byte* packed = in + 96;
    const float d = half(in + 108);
    for (int group = 0; group < 16; ++group) {
      const int low = packed[group % 8] >> (group / 8 * 4) & 15;
      const int high = packed[8 + group % 4] >> (group / 4 * 2) & 3;
      const float scale = d * static_cast<float>((low | high << 4) - 32);
      const int run = group / 2;
      for (int i = group % 2 * 16; i < group % 2 * 16 + 16; ++i) {
        const int third = in[i] >> run & 1;
        out[run * 32 + i] = scale * static_cast<float>(two_bits(in + 32, run, i) - (third == 0 ? 4 : 0));
      }
    }
  }
};

// Nibbles that are places in a table.
using Code = std::array<int8_t, 16>;
constexpr Code iq4_code{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr Code mxfp4_code{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
void coded(const Byte* q, const Code& code, float d, float* out) {
  for (int i = 0; i < 16; ++i) out[i] = d * static_cast<float>(code[q[i] & 15]);
  for (int i = 0; i < 16; ++i) out[i + 16] = d * static_cast<float>(code[q[i] >> 4]);
}

struct IQ4_NL {
  static constexpr int64_t elements = 32, bytes = 18;
  static void block(const Byte* in, float* out) { coded(in + 2, iq4_code, half(in), out); }
};
struct IQ4_XS {
  static constexpr int64_t elements = 256, bytes = 136;
  static void block(const Byte* in, float* out) {
    for (int group = 0; group < 8; ++group) {
      const int low = in[4 + group / 2] >> (group % 2 * 4) & 15, high = u16(in + 2) >> (group * 2) & 3;
      const float scale = half(in) * static_cast<float>((low | high << 4) - 32);
      coded(in + 8 + 16 * group, iq4_code, scale, out + 32 * group);
    }
  }
};
struct MXFP4 {
  static constexpr int64_t elements = 32, bytes = 17;
  static void block(const Byte* in, float* out) {
    const uint32_t e = in[0];  // half of 2^(e - 127); 2^-128 and 2^-127 are subnormal
    coded(in + 1, mxfp4_code, std::bit_cast<float>(e < 2 ? 0x200000U << e : (e - 1) << 23), out);
  }
};

// Five digits to the base 3 are a byte, as a fraction of 256 that is rounded up: multiplied by 3, what goes
// over 8 bits is the next digit.
void ternary(const Byte* q, int bytes, int digits, float d, float* out) {
  for (int i = 0; i < bytes; ++i) {
    int rest = q[i];
    for (int digit = 0; digit < digits; ++digit, rest = rest * 3 & 255)
      out[digit * bytes + i] = d * static_cast<float>((rest * 3 >> 8) - 1);
  }
}

struct TQ1_0 {
  static constexpr int64_t elements = 256, bytes = 54;
  static void block(const Byte* in, float* out) {
    const float d = half(in + 52);
    ternary(in, 32, 5, d, out);
    ternary(in + 32, 16, 5, d, out + 160);
    ternary(in + 48, 4, 4, d, out + 240);
  }
};
struct TQ2_0 {
  static constexpr int64_t elements = 256, bytes = 66;
  static void block(const Byte* in, float* out) {
    const float d = half(in + 64);
    for (int i = 0; i < 256; ++i) out[i] = d * static_cast<float>(two_bits(in, i / 32, i % 32) - 1);
  }
};

struct F32 {
  static constexpr int64_t elements = 1, bytes = 4;
};
struct F16 {
  static constexpr int64_t elements = 1, bytes = 2;
  static void block(const Byte* in, float* out) { *out = half(in); }
};
struct Bf16 {
  static constexpr int64_t elements = 1, bytes = 2;
  static void block(const Byte* in, float* out) {
    *out = std::bit_cast<float>(static_cast<uint32_t>(u16(in)) << 16);
  }
};

template <class Format>
void widen_blocks(const Byte* in, std::span<float> out) {
  if constexpr (std::is_same_v<Format, F32>) {
    std::memcpy(out.data(), in, out.size_bytes());
  } else {
    const size_t blocks = out.size() / Format::elements;
    for (size_t b = 0; b < blocks; ++b)
      Format::block(in + b * Format::bytes, out.data() + b * Format::elements);
  }
}

struct Widening {
  std::string_view dtype;
  DtypeLayout layout;
  void (*widen)(const Byte* in, std::span<float> out);
};
template <class Format>
constexpr Widening widening(std::string_view dtype) {
  return {dtype, {Format::elements, Format::bytes}, widen_blocks<Format>};
}
constexpr std::array widenings{
    widening<F32>("F32"),     widening<F16>("F16"),       widening<Bf16>("BF16"),
    widening<Q8_0>("Q8_0"),   widening<Q4_0>("Q4_0"),     widening<Q4_1>("Q4_1"),
    widening<Q5_0>("Q5_0"),   widening<Q5_1>("Q5_1"),     widening<Q2_K>("Q2_K"),
    widening<Q3_K>("Q3_K"),   widening<Q4_K>("Q4_K"),     widening<Q5_K>("Q5_K"),
    widening<Q6_K>("Q6_K"),   widening<IQ4_NL>("IQ4_NL"), widening<IQ4_XS>("IQ4_XS"),
    widening<MXFP4>("MXFP4"), widening<TQ1_0>("TQ1_0"),   widening<TQ2_0>("TQ2_0"),
};

const Widening* find(std::string_view dtype) {
  const auto found = std::find_if(widenings.begin(), widenings.end(),
                                  [&](const Widening& known) { return known.dtype == dtype; });
  return found == widenings.end() ? nullptr : &*found;
}

}  // namespace

bool can_widen(std::string_view dtype) {
  return find(dtype) != nullptr;
}

std::string widened_dtypes() {
  std::string list;
  for (const Widening& known : widenings) {
    if (!list.empty()) list += ", ";
    list += known.dtype;
  }
  return list;
}

void widen(std::string_view dtype, std::span<const std::byte> bytes, std::span<float> out) {
  const Widening* known = find(dtype);
  require<std::logic_error>(known != nullptr, "cannot widen ", dtype);
  const auto blocks = bytes.size() / static_cast<size_t>(known->layout.bytes);
  require<std::logic_error>(blocks * static_cast<size_t>(known->layout.elements) == out.size() &&
                                blocks * static_cast<size_t>(known->layout.bytes) == bytes.size(),
                            "cannot widen ", bytes.size(), " bytes of ", dtype, " to ", out.size(),
                            " values");
  if (!out.empty()) known->widen(reinterpret_cast<const Byte*>(bytes.data()), out);
}

void widen_rows(const StoredTensor& tensor, int64_t first, std::span<float> out) {
  const std::vector<int64_t> shape = shape_in_file(tensor);
  const bool values = shape.size() == 1 && !tensor.row_order.empty();
  const auto width = static_cast<size_t>(values ? 1 : shape.back());
  if (width == 0 || out.empty()) return;
  const Widening* known = find(tensor.dtype);
  require<std::logic_error>(known != nullptr, "cannot widen ", tensor.dtype);
  const auto elements = static_cast<size_t>(known->layout.elements);
  require(width % elements == 0, "a vector of ", tensor.dtype,
          " has to be taken apart; expected plain numbers");
  const size_t row_bytes = width / elements * static_cast<size_t>(known->layout.bytes);
  const size_t count = out.size() / width, begin = static_cast<size_t>(first);
  if (tensor.row_order.empty())
    return widen(tensor.dtype, tensor.bytes.subspan(begin * row_bytes, count * row_bytes), out);
  for (size_t i = 0; i < count; ++i) {
    const auto row = static_cast<size_t>(tensor.row_order[begin + i]);
    widen(tensor.dtype, tensor.bytes.subspan(row * row_bytes, row_bytes), out.subspan(i * width, width));
  }
}

}  // namespace kvviz
