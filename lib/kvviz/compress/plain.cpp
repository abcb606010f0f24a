// SPDX-License-Identifier: MIT
#include <ATen/Functions.h>

#include <algorithm>
#include <array>
#include <limits>

#include "kvviz/compress/row_kernels.hpp"
#include "kvviz/compress/table.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz::compress {
namespace {

/// Four bytes an element; restored is bit-equal.
class Identity final : public Codec {
 public:
  Coded code(const at::Tensor& x, Side /*side*/) const override {
    const Sheet sheet(x);
    const Bytes bytes = sheet.for_each(sheet.all(), piece_tokens(sheet.channels()), [](const Rows& rows) {
      std::copy_n(rows.in, rows.size(), rows.out);
      return Bytes{.payload = 4.0 * static_cast<double>(rows.size())};
    });
    return {sheet.restored(), bytes};
  }

  bool token_local() const override { return true; }
};

/// Each element rounded by itself to two bytes.
template <void (*Round)(const Rows&)>
class TwoBytes final : public Codec {
 public:
  Coded code(const at::Tensor& x, Side /*side*/) const override {
    const Sheet sheet(x);
    const Bytes bytes = sheet.for_each(sheet.all(), piece_tokens(sheet.channels()), [](const Rows& rows) {
      Round(rows);
      return Bytes{.payload = 2.0 * static_cast<double>(rows.size())};
    });
    return {sheet.restored(), bytes};
  }

  bool token_local() const override { return true; }
};

/// E4M3 of x / s with one s = max|x| / 448 in f32 a head; restored is s times the code. One byte an element,
/// four a head.
class Fp8 final : public Codec {
 public:
  Coded code(const at::Tensor& x, Side /*side*/) const override {
    const Sheet sheet(x);
    const Bytes bytes = sheet.for_each(sheet.all(), 0, [](const Rows& rows) {
      const float scale =
          std::max(row_kernels::largest_magnitude(rows) / 448.0F, std::numeric_limits<float>::min());
      row_kernels::scale_to_e4m3(rows, scale);
      return Bytes{.payload = static_cast<double>(rows.size()), .metadata = 4};
    });
    return {sheet.restored(), bytes};
  }
};

template <class Plain>
std::unique_ptr<Codec> make_plain(std::string_view arguments) {
  require<UsageError>(arguments.empty(), "[method] got '", arguments,
                      "' behind the ':', expected nothing: f32, f16, bf16 and fp8 take no argument");
  return std::make_unique<Plain>();
}

}  // namespace

std::span<const MethodInfo> plain_methods() {
  static constexpr std::array<std::string_view, 1> as_it_is{""};
  static const std::array all{
      MethodInfo{"f32", "", "single precision: nothing is lost", "", make_plain<Identity>, as_it_is, true},
      MethodInfo{"f16", "", "half precision, to nearest even, saturating at 65504", "",
                 make_plain<TwoBytes<row_kernels::round_to_f16>>, as_it_is, true},
      MethodInfo{"bf16", "", "bfloat16, to nearest even", "",
                 make_plain<TwoBytes<row_kernels::round_to_bf16>>, as_it_is, true},
      MethodInfo{"fp8", "", "FP8 E4M3, to nearest even, one f32 scale a head",
                 "Micikevicius et al., 2022 (arXiv 2209.05433)", make_plain<Fp8>, as_it_is}};
  return all;
}

}  // namespace kvviz::compress
