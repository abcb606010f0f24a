// SPDX-License-Identifier: MIT
#include "kvviz/eval/written_text.hpp"

#include <ATen/core/grad_mode.h>

#include "kvviz/model/rope.hpp"
#include "kvviz/model/token_ids.hpp"

namespace kvviz {

WrittenText::WrittenText(const Decoder& decoder, std::span<const int32_t> ids, KeyBasis basis)
    : decoder_(decoder), ids_(ids), basis_(basis) {
  hidden_ = pass(
      [](size_t, const LayerKv& layer) {
        return std::pair{layer.key, layer.value};
      },
      [&](Site site, int, const at::Tensor& x) {
        if (site == Site::attention) outputs_.push_back(x[0].clone());
      });
}

at::Tensor WrittenText::pass(const Write& write, const Probe& probe) const {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = decoder_.config();
  const bool rotates = basis_ == KeyBasis::pre_rope && config.position == PositionKind::rope;
  const at::Tensor input = token_tensor(ids_);
  const RopeTable turns = rotates ? rope_table(config.rope, 0, std::ssize(ids_)) : RopeTable{};
  const auto attend = [&](const LayerQkv& x) {
    const LayerKv layer{.key = (rotates ? x.key_pre_rope : x.key)[0].contiguous(),
                        .value = x.value[0].contiguous(),
                        .query_heads = static_cast<int>(x.query.size(1)),
                        .window = static_cast<int>(x.spec.window)};
    const auto [key, value] = write(static_cast<size_t>(x.layer), layer);
    at::Tensor read = key.unsqueeze(0);
    if (rotates) read = rotate(read, turns, config.rope);
    return streaming_attention(x.query, read, value.unsqueeze(0), x.spec, {}, nullptr);
  };
  return decoder_.hidden(input, {}, attend, probe)[0];
}

ContinuedRun WrittenText::run(const Write& write) const {
  ContinuedRun run;
  run.hidden = pass(write, [&](Site site, int layer, const at::Tensor& x) {
    if (site == Site::attention)
      run.output_error.push_back(head_errors(x[0], outputs_[static_cast<size_t>(layer)]));
  });
  return run;
}

}  // namespace kvviz
