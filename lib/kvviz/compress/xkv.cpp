// SPDX-License-Identifier: MIT
#include <ATen/Functions.h>

#include "kvviz/compress/cross_layer.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"

namespace kvviz::compress {
namespace {

/// Layers [first, last) that share a basis.
struct LayerGroup {
  size_t first = 0, last = 0;
};

std::vector<LayerGroup> groups_of(std::span<const at::Tensor> layers, int64_t most) {
  std::vector<LayerGroup> groups;
  for (size_t l = 0; l < layers.size(); ++l) {
    const bool joins = !groups.empty() && std::cmp_less(l - groups.back().first, most) &&
                       layers[l].sizes() == layers[l - 1].sizes();
    if (!joins) groups.push_back({.first = l});
    groups.back().last = l + 1;
  }
  return groups;
}

class Xkv final : public Codec {
 public:
  explicit Xkv(const XkvOptions& options)
      : joint_(svd_codec({.kept = options.kept, .joint = true})), group_(options.group) {}

  Coded code(const at::Tensor& x, Side side) const override { return joint_->code(x, side); }

  bool across_layers() const override { return true; }

  std::vector<Coded> code_layers(std::span<const at::Tensor> layers, Side side) const override {
    std::vector<Coded> coded(layers.size());
    const std::vector<LayerGroup> groups = groups_of(layers, group_);
    const stats::SerialBlas serial;
    kernels::parallel_for(std::ssize(groups), [&](int64_t i) {
      const LayerGroup group = groups[static_cast<size_t>(i)];
      const auto size = group.last - group.first;
      // Layers side by side are more heads to the joint factorisation.
      const Coded all = joint_->code(at::cat({layers.data() + group.first, size}), side);
      const auto share = static_cast<double>(size);
      const auto parts = all.restored.chunk(static_cast<int64_t>(size));
      for (size_t l = 0; l < size; ++l)
        coded[group.first + l] = {.restored = parts[l],
                                  .bytes = {all.bytes.payload / share, all.bytes.metadata / share}};
    });
    return coded;
  }

 private:
  std::unique_ptr<Codec> joint_;
  int64_t group_;
};

}  // namespace

std::unique_ptr<Codec> xkv_codec(const XkvOptions& options) {
  return std::make_unique<Xkv>(options);
}

}  // namespace kvviz::compress
