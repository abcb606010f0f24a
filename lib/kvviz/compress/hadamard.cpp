// SPDX-License-Identifier: MIT
#include "kvviz/compress/hadamard.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>
#include <vector>

#include "kvviz/core/error.hpp"

namespace kvviz::compress {
namespace {

/// One axis of two out of the log2(d) that H_d is the product of, and a cyclic turn of the axes: after all
/// stages they are back in their places. The same even loop in every stage, unlike butterflies in place,
/// whose first stages do not fill a vector.
void stage(const float* from, float* to, size_t half, float norm) {
#pragma omp simd
  for (size_t i = 0; i < half; ++i) {
    const float a = from[2 * i], b = from[2 * i + 1];
    to[i] = (a + b) * norm;
    to[i + half] = (a - b) * norm;
  }
}

class Hadamard final : public Codec {
 public:
  explicit Hadamard(std::shared_ptr<const Codec> inner) : inner_(std::move(inner)) {}

  Coded code(const at::Tensor& x, Side side) const override {
    const auto channels = static_cast<uint64_t>(x.size(2));
    require<UsageError>(std::has_single_bit(channels), "[hadamard] got ", channels,
                        " channels a head, expected a power of two: use the method without hadamard:");
    const Coded inner = inner_->code(rotated(Sheet(x)), side);
    return {rotated(Sheet::in_place(inner.restored)), inner.bytes};
  }

 private:
  static at::Tensor rotated(const Sheet& sheet) {
    sheet.for_each(sheet.all(), piece_tokens(sheet.channels()), [](const Rows& rows) {
      hadamard(rows);
      return Bytes{};
    });
    return sheet.restored();
  }

  std::shared_ptr<const Codec> inner_;
};

}  // namespace

void hadamard(const Rows& rows) {
  const auto channels = static_cast<size_t>(rows.channels);
  const auto norm = static_cast<float>(1 / std::sqrt(static_cast<double>(channels)));
  std::vector<float> even(channels), odd(channels);
  for (int64_t t = 0; t < rows.tokens; ++t) {
    float* from = even.data();
    float* to = odd.data();
    std::copy_n(rows.in + t * rows.channels, channels, from);
    for (size_t size = 2; size <= channels; size *= 2) {
      stage(from, to, channels / 2, size == channels ? norm : 1.0F);
      std::swap(from, to);
    }
    std::copy_n(from, channels, rows.out + t * rows.channels);
  }
}

std::unique_ptr<Codec> make_hadamard(std::string_view arguments) {
  require<UsageError>(!arguments.empty(),
                      "[hadamard] got no method, expected hadamard:METHOD, for example hadamard:kivi:4");
  return std::make_unique<Hadamard>(parse_method(arguments).codec);
}

}  // namespace kvviz::compress
