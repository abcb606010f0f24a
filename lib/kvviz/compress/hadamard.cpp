// SPDX-License-Identifier: MIT
#include "kvviz/compress/hadamard.hpp"

#include <ATen/Functions.h>

#include <bit>
#include <utility>
#include <vector>

#include "kvviz/compress/row_kernels.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz::compress {
namespace {

class Hadamard final : public Codec {
 public:
  explicit Hadamard(std::shared_ptr<const Codec> inner) : inner_(std::move(inner)) {}

  Coded code(const at::Tensor& x, Side side) const override {
    if (inner_->token_local()) return code_pieces(x, side);
    const Coded inner = inner_->code(rotated(x), side);
    return {rotated(Sheet::in_place(inner.restored)), inner.bytes};
  }

  bool across_layers() const override { return inner_->across_layers(); }
  std::vector<Coded> code_layers(std::span<const at::Tensor> layers, Side side) const override {
    std::vector<at::Tensor> turned;
    for (const at::Tensor& x : layers) turned.push_back(rotated(x));
    std::vector<Coded> coded = inner_->code_layers(turned, side);
    for (Coded& layer : coded) layer.restored = rotated(Sheet::in_place(layer.restored));
    return coded;
  }

  bool token_local() const override { return inner_->token_local(); }

 private:
  static void check(const at::Tensor& x) {
    const auto channels = static_cast<uint64_t>(x.size(2));
    require<UsageError>(std::has_single_bit(channels), "[hadamard] got ", channels,
                        " channels a head, expected a power of two: use the method without hadamard:");
  }

  /// There and back while a piece is in the cache, not once over all of memory for each step.
  Coded code_pieces(const at::Tensor& x, Side side) const {
    check(x);
    const Sheet sheet(x);
    const Bytes bytes = sheet.for_each(sheet.all(), piece_tokens(sheet.channels()), [&](const Rows& rows) {
      const at::Tensor piece = at::empty({1, rows.tokens, rows.channels}, x.options());
      hadamard({rows.in, piece.data_ptr<float>(), rows.tokens, rows.channels});
      const Coded inner = inner_->code(piece, side);
      hadamard({inner.restored.data_ptr<float>(), rows.out, rows.tokens, rows.channels});
      return inner.bytes;
    });
    return {sheet.restored(), bytes};
  }

  static at::Tensor rotated(const at::Tensor& x) {
    check(x);
    return rotated(Sheet(x));
  }

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
  row_kernels::hadamard(rows);
}

std::unique_ptr<Codec> make_hadamard(std::string_view arguments) {
  require<UsageError>(!arguments.empty(),
                      "[hadamard] got no method, expected hadamard:METHOD, for example hadamard:kivi:4");
  return std::make_unique<Hadamard>(parse_method(arguments).codec);
}

}  // namespace kvviz::compress
