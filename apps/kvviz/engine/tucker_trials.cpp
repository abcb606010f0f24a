// SPDX-License-Identifier: MIT
#include "kvviz/engine/tucker_trials.hpp"

#include <ATen/Functions.h>

#include <cmath>

#include "kvviz/compress/low_rank.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"

namespace kvviz {
namespace {

using analysis::Half;
using analysis::TuckerTensor;
using compress::Coded;

stats::TensorView view_of(const at::Tensor& x) {
  return {x.data_ptr<float>(), x.size(0), x.size(1), x.size(2)};
}

/// Halves of the layers in the order of analysis::decompose().
std::vector<at::Tensor> tensors_of(const KvCache& cache, const analysis::Halves& halves) {
  std::vector<at::Tensor> all;
  for (const LayerKv& layer : cache.layers) {
    if (halves.keys) all.push_back(layer.key);
    if (halves.values) all.push_back(layer.value);
  }
  return all;
}

Coded halved(const at::Tensor& x) {
  return {.restored = x.to(at::kHalf).to(at::kFloat),
          .bytes = {.payload = 2.0 * static_cast<double>(x.numel())}};
}

}  // namespace

void add(TuckerTally& sum, const TuckerTally& other) {
  sum.key_lost += other.key_lost, sum.key_energy += other.key_energy;
  sum.value_lost += other.value_lost, sum.value_energy += other.value_energy;
  for (size_t mode = 0; mode < sum.ranks.size(); ++mode) sum.ranks[mode] += other.ranks[mode];
  sum.tensors += other.tensors;
}

TuckerTrials::TuckerTrials(const TuckerOptions& o)
    : options_(o),
      halves_{.keys = o.sides != "values", .values = o.sides != "keys"},
      asked_{.heads = o.head_rank, .tokens = o.token_rank, .channels = o.channel_rank},
      max_sweeps_(o.method == "hosvd" ? 0 : stats::TuckerOptions{}.max_sweeps) {}

stats::Ranks TuckerTrials::ranks(int step, const stats::TensorView& x) const {
  return step == 0 ? analysis::ranks_for(asked_, x) : analysis::ranks_at_step(step, x);
}

std::vector<TuckerTrials::Part> TuckerTrials::coded(const KvCache& cache,
                                                    std::span<const TuckerTensor> tensors) const {
  const std::vector<at::Tensor> all = tensors_of(cache, halves_);
  std::vector<Part> parts(all.size());
  const stats::SerialBlas serial;
  kernels::parallel_for(std::ssize(all), [&](int64_t i) {
    const auto index = static_cast<size_t>(i);
    Part& part = parts[index];
    part.coded = compress::code_tucker(tensors[index].tucker);
    part.error = relative_error(part.coded.restored, all[index]);
    part.energy = tensors[index].energy;
  });
  return parts;
}

std::vector<TuckerTrials::Part> TuckerTrials::svd(const KvCache& cache, int step) const {
  const std::vector<at::Tensor> all = tensors_of(cache, halves_);
  std::vector<Part> parts(all.size());
  const stats::SerialBlas serial;
  kernels::parallel_for(std::ssize(all), [&](int64_t i) {
    const auto index = static_cast<size_t>(i);
    const at::Tensor& x = all[index];
    const stats::TensorView view = view_of(x);
    const int64_t elements = stats::stored_elements(stats::useful(ranks(step, view), view), view);
    const double share = static_cast<double>(elements) / static_cast<double>(view.elements());
    Part& part = parts[index];
    part.coded = compress::svd_codec({.kept = {.share = share}})->code(x, compress::Side::key);
    part.error = relative_error(part.coded.restored, x);
    part.energy = tensors_[index].energy;
  });
  return parts;
}

void TuckerTrials::look_at(const KvCache& cache) {
  if (at_hand_.defined() && at_hand_.is_same(cache.layers.front().key)) return;
  at_hand_ = cache.layers.front().key;
  tensors_ = analysis::decompose(
      cache.view(), halves_, [&](size_t, const stats::TensorView& x) { return ranks(0, x); }, max_sweeps_);
  spectra_ = analysis::spectra(cache.view(), halves_);
  restored_ = coded(cache, tensors_);
  analysis::add(parts_, tensors_, spectra_);
  ++caches_;
  tokens_ += static_cast<double>(cache.layers.front().tokens());
  if (caches_ > 1) return;
  for (const TuckerTensor& tensor : tensors_)
    if (tensor.layer == options_.layer) components_.push_back(tensor);
}

std::vector<ChangedLayer> TuckerTrials::layers(const KvCache& cache, std::span<const Part> parts,
                                               TuckerTally& tally) const {
  std::vector<ChangedLayer> changed;
  size_t next = 0;
  for (const LayerKv& layer : cache.layers) {
    ChangedLayer one;
    const auto take = [&](const at::Tensor& x, bool decomposed, at::Tensor& into, double& error) {
      const Coded coded = decomposed ? parts[next].coded : halved(x);
      into = coded.restored;
      one.payload_bytes += coded.bytes.payload;
      one.metadata_bytes += coded.bytes.metadata;
      one.workspace_bytes += decomposed ? 2.0 * static_cast<double>(x.numel()) : 0;
      error = decomposed ? parts[next].error : relative_error(coded.restored, x);
      return decomposed ? parts[next++].energy : squared_norm(x);
    };
    const double keys = take(layer.key, halves_.keys, one.key, one.key_error);
    const double values = take(layer.value, halves_.values, one.value, one.value_error);
    tally.key_energy += keys, tally.key_lost += one.key_error * one.key_error * keys;
    tally.value_energy += values, tally.value_lost += one.value_error * one.value_error * values;
    changed.push_back(std::move(one));
  }
  return changed;
}

std::vector<ChangedLayer> TuckerTrials::change(const KvCache& cache, std::string_view family, int step,
                                               TuckerTally& tally) {
  look_at(cache);
  if (family == "svd") return layers(cache, svd(cache, step), tally);
  const bool best = family == "tucker_best";
  const auto choose = [&](size_t i, const stats::TensorView& x) {
    const stats::Ranks own = ranks(step, x);
    return best ? spectra_[i].best_within(stats::stored_elements(stats::useful(own, x), x), x) : own;
  };
  const bool known = step == 0 && !best;
  const std::vector<TuckerTensor> tensors =
      known ? std::vector<TuckerTensor>() : analysis::decompose(cache.view(), halves_, choose, max_sweeps_);
  for (const TuckerTensor& t : known ? tensors_ : tensors) {
    const stats::Ranks& r = t.tucker.ranks;
    tally.ranks[0] += static_cast<double>(r.heads);
    tally.ranks[1] += static_cast<double>(r.tokens);
    tally.ranks[2] += static_cast<double>(r.channels);
    ++tally.tensors;
  }
  return known ? layers(cache, restored_, tally) : layers(cache, coded(cache, tensors), tally);
}

std::vector<ChangedLayer> TuckerTrials::change_layer(const KvCache& cache, int layer) {
  look_at(cache);
  TuckerTally unused;
  std::vector<ChangedLayer> changed = layers(cache, restored_, unused);
  for (size_t l = 0; l < changed.size(); ++l) {
    if (static_cast<int>(l) == layer) continue;
    const LayerKv& whole = cache.layers[l];
    changed[l] = {.key = whole.key,
                  .value = whole.value,
                  .payload_bytes = 2.0 * static_cast<double>(whole.key.numel() + whole.value.numel())};
  }
  return changed;
}

}  // namespace kvviz
