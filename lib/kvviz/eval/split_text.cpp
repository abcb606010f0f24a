// SPDX-License-Identifier: MIT
#include "kvviz/eval/split_text.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include "kvviz/core/error.hpp"
#include "kvviz/model/rope.hpp"
#include "kvviz/model/session.hpp"

namespace kvviz {
namespace {

/// Keys [kv_heads, held, head_dim] before RoPE, each rotated to its token's position.
at::Tensor rotated_keys(const ChangedLayer& layer, const RopeTable& table, const RopeConfig& rope) {
  if (layer.positions.empty()) return rotate(layer.key.unsqueeze(0), table, rope)[0];
  const at::Tensor keys = at::zeros_like(layer.key);
  for (size_t g = 0; g < layer.positions.size(); ++g) {
    const auto held = std::ssize(layer.positions[g]);
    const auto head = static_cast<int64_t>(g);
    at::Tensor at_positions = at::empty({held}, at::kLong);
    std::ranges::copy(layer.positions[g], at_positions.data_ptr<int64_t>());
    const RopeTable own{table.cos.index_select(0, at_positions), table.sin.index_select(0, at_positions)};
    keys[head]
        .narrow(0, 0, held)
        .copy_(rotate(layer.key[head].narrow(0, 0, held).unsqueeze(0).unsqueeze(0), own, rope)[0][0]);
  }
  return keys;
}

}  // namespace

std::vector<double> head_errors(const at::Tensor& test, const at::Tensor& full) {
  std::vector<double> heads;
  for (int64_t h = 0; h < full.size(0); ++h) heads.push_back(relative_error(test[h], full[h]));
  return heads;
}

SplitText::SplitText(const Decoder& decoder, std::span<const int32_t> ids, int64_t prefix, KeyBasis basis)
    : decoder_(decoder), ids_(ids), prefix_(prefix) {
  require<UsageError>(prefix >= 1 && prefix <= std::ssize(ids) - 2, "a prefix of ", prefix,
                      " tokens leaves nothing to predict of a text of ", ids.size());
  Session session(decoder);
  std::vector<at::Tensor> plain_keys;
  Session::Watch watch;
  watch.probe = [&](Site site, int, const at::Tensor& x) {
    if (site == Site::key_pre_rope && basis == KeyBasis::pre_rope) plain_keys.push_back(x[0].contiguous());
  };
  session.extend(this->prefix(), watch);
  cache_ = session.cache(prefix);
  cache_.basis = basis;
  for (size_t l = 0; l < cache_.layers.size(); ++l) {
    LayerKv& layer = cache_.layers[l];
    layer.key = basis == KeyBasis::pre_rope ? plain_keys[l] : layer.key.clone();
    layer.value = layer.value.clone();
  }
  watch.probe = [&](Site site, int, const at::Tensor& x) {
    if (site == Site::attention) outputs_.push_back(x[0].clone());
  };
  hidden_ = session.extend(continuation(), watch);
}

std::vector<ChangedLayer> SplitText::rotated(std::span<const ChangedLayer> layers) const {
  std::vector<ChangedLayer> result(layers.begin(), layers.end());
  const ModelConfig& config = decoder_.config();
  if (cache_.basis == KeyBasis::post_rope || config.position != PositionKind::rope) return result;
  const RopeTable table = rope_table(config.rope, 0, prefix_);
  for (ChangedLayer& layer : result) layer.key = rotated_keys(layer, table, config.rope);
  return result;
}

ContinuedRun SplitText::run(std::span<const ChangedLayer> layers) const {
  ContinuedRun run;
  ChangedSession session(decoder_, rotated(layers), prefix_);
  run.hidden = session.extend(continuation(), [&](Site site, int layer, const at::Tensor& x) {
    if (site == Site::attention)
      run.output_error.push_back(head_errors(x[0], outputs_[static_cast<size_t>(layer)]));
  });
  return run;
}

}  // namespace kvviz
