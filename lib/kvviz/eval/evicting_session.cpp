// SPDX-License-Identifier: MIT
#include "kvviz/eval/evicting_session.hpp"

#include <ATen/core/grad_mode.h>

#include "kvviz/core/error.hpp"
#include "kvviz/model/token_ids.hpp"

namespace kvviz {

EvictingSession::EvictingSession(const Decoder& decoder, Simulation simulation, SimulationOptions options,
                                 int64_t tokens)
    : decoder_(decoder),
      simulation_(std::move(simulation)),
      options_(std::move(options)),
      most_tokens_(tokens),
      rotary_(decoder.config(), tokens, options_.policy.future) {
  check_positions(options_.positions, decoder.config());
  require<UsageError>(!simulation_.policy.info.clairvoyant, "policy ", simulation_.policy.name,
                      " reads the future, and generated text has none yet");
  options_.compare = false;
}

at::Tensor EvictingSession::attend(const LayerQkv& x) {
  const auto layer = static_cast<size_t>(x.layer);
  if (layer == scans_.size()) {
    const kernels::ScanShape shape = scan_shape(x);
    const policy::LayerPlace place =
        layer_place(simulation_, decoder_.config(), x.layer, most_tokens_, rotary_);
    scans_.push_back(layer_scan(simulation_, options_, shape, place, {}));
    splits_.push_back(policy::layer_splits(simulation_.policy, options_.policy, shape, place));
    metadata_.push_back(policy::layer_metadata(simulation_.policy, options_.policy, shape, place));
  }
  const at::Tensor out = empty_output(x, 1);
  scans_[layer].advance(scan_input(x, out, 0));
  return out;
}

at::Tensor EvictingSession::extend(std::span<const int32_t> ids) {
  const at::NoGradGuard no_grad;
  require<UsageError>(tokens_ + std::ssize(ids) <= most_tokens_, "got ", tokens_ + std::ssize(ids),
                      " tokens, expected at most ", most_tokens_);
  const at::Tensor input = token_tensor(ids);
  const at::Tensor hidden =
      decoder_.hidden(input, {tokens_}, [this](const LayerQkv& x) { return attend(x); })[0];
  tokens_ += std::ssize(ids);
  return hidden;
}

std::vector<SimulatedSet> EvictingSession::sets() const {
  std::vector<SimulatedSet> all;
  for (size_t layer = 0; layer < scans_.size(); ++layer) {
    for (SimulatedSet& set :
         simulated_sets(static_cast<int>(layer), scans_[layer], splits_[layer], metadata_[layer]))
      all.push_back(std::move(set));
  }
  return all;
}

}  // namespace kvviz
