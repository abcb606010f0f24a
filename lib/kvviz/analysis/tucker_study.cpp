// SPDX-License-Identifier: MIT
#include "kvviz/analysis/tucker_study.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"

namespace kvviz::analysis {
namespace {

int64_t ceiling(int64_t numerator, int64_t denominator) {
  return (numerator + denominator - 1) / denominator;
}

int64_t token_directions(const stats::TensorView& x) {
  return std::min(x.tokens, x.heads * x.channels);
}

/// A tensor of a cache by its place in the order of decompose().
struct Place {
  int layer = 0;
  Half half = Half::key;
};

std::vector<Place> places(const KvView& cache, const Halves& halves) {
  std::vector<Place> all;
  for (int l = 0; l < static_cast<int>(cache.layers.size()); ++l) {
    if (halves.keys) all.push_back({l, Half::key});
    if (halves.values) all.push_back({l, Half::value});
  }
  return all;
}

const at::Tensor& tensor_at(const KvView& cache, const Place& place) {
  const LayerKv& layer = cache.layers[static_cast<size_t>(place.layer)];
  return place.half == Half::key ? layer.key : layer.value;
}

/// body(index, place, view) of every tensor, in parallel; what is wrong with one names its layer.
void for_each(const KvView& cache, const std::vector<Place>& all,
              const std::function<void(size_t, const Place&, const stats::TensorView&)>& body) {
  const stats::SerialBlas serial;
  kernels::parallel_for(std::ssize(all), [&](int64_t i) {
    const auto index = static_cast<size_t>(i);
    const at::Tensor dense = widened(tensor_at(cache, all[index]));
    try {
      body(index, all[index], {dense.data_ptr<float>(), dense.size(0), dense.size(1), dense.size(2)});
    } catch (const DataError& error) {
      throw DataError(cat("layer ", all[index].layer,
                          all[index].half == Half::key ? " keys: " : " values: ", error.what()));
    }
  });
}

double energy_of(const stats::TensorView& x) {
  return std::transform_reduce(x.data, x.data + x.elements(), 0.0, std::plus<>(),
                               [](float v) { return static_cast<double>(v) * static_cast<double>(v); });
}

std::array<double, 3> numbers(const stats::Ranks& r) {
  return {static_cast<double>(r.heads), static_cast<double>(r.tokens), static_cast<double>(r.channels)};
}

/// Mean of `count` numbers and `more` with the mean `other`.
void add_to_mean(std::array<double, 3>& mean, const std::array<double, 3>& other, int64_t count,
                 int64_t more = 1) {
  const double weight = static_cast<double>(more) / static_cast<double>(count + more);
  for (size_t i = 0; i < mean.size(); ++i) mean[i] += (other[i] - mean[i]) * weight;
}

void add_to(std::vector<double>& sums, const std::vector<double>& values) {
  sums.resize(std::max(sums.size(), values.size()), 0);
  for (size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
}

double relative(double lost, double energy) {
  return energy > 0 ? std::sqrt(std::max(lost, 0.0) / energy) : 0;
}

double square(double x) {
  return x * x;
}

}  // namespace

stats::Ranks ranks_for(const TuckerRanks& asked, const stats::TensorView& x) {
  if (!asked.heads && !asked.tokens && !asked.channels)
    return {x.heads, ceiling(token_directions(x), 4), ceiling(x.channels, 2)};
  return {asked.heads.value_or(x.heads), asked.tokens.value_or(x.tokens),
          asked.channels.value_or(x.channels)};
}

stats::Ranks ranks_at_step(int step, const stats::TensorView& x) {
  const auto part = [&](int64_t size) { return ceiling(step * size, tucker_steps); };
  return {part(x.heads), part(token_directions(x)), part(x.channels)};
}

std::vector<TuckerTensor> decompose(const KvView& cache, const Halves& halves, const RankChoice& ranks,
                                    int max_sweeps) {
  const std::vector<Place> all = places(cache, halves);
  std::vector<TuckerTensor> tensors(all.size());
  for_each(cache, all, [&](size_t i, const Place& place, const stats::TensorView& x) {
    const stats::Ranks asked = ranks(i, x);
    tensors[i] = {.layer = place.layer,
                  .half = place.half,
                  .asked = asked,
                  .tucker = stats::tucker(x, {.ranks = asked, .max_sweeps = max_sweeps}),
                  .energy = energy_of(x)};
  });
  return tensors;
}

std::vector<stats::RankErrors> spectra(const KvView& cache, const Halves& halves) {
  const std::vector<Place> all = places(cache, halves);
  std::vector<stats::RankErrors> errors(all.size());
  for_each(cache, all,
           [&](size_t i, const Place&, const stats::TensorView& x) { errors[i] = stats::rank_errors(x); });
  return errors;
}

double TuckerPart::error() const {
  return relative(lost, energy);
}

double TuckerPart::initial_error() const {
  return relative(initial, energy);
}

double TuckerPart::best_error() const {
  return relative(best_lost, energy);
}

void add(std::vector<TuckerPart>& parts, std::span<const TuckerTensor> tensors,
         std::span<const stats::RankErrors> spectra) {
  if (parts.empty())
    for (const TuckerTensor& t : tensors) parts.push_back({.layer = t.layer, .half = t.half});
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TuckerTensor& t = tensors[i];
    TuckerPart& part = parts[i];
    const stats::TensorView x{nullptr, t.tucker.heads, t.tucker.tokens, t.tucker.channels};
    const int64_t stored = stats::stored_elements(t.tucker.ranks, x);
    const stats::Ranks best = spectra[i].best_within(stored, x);
    add_to_mean(part.sizes, numbers({x.heads, x.tokens, x.channels}), part.caches);
    add_to_mean(part.asked, numbers(t.asked), part.caches);
    add_to_mean(part.ranks, numbers(t.tucker.ranks), part.caches);
    add_to_mean(part.best, numbers(best), part.caches);
    ++part.caches;
    part.elements += static_cast<double>(x.elements());
    part.stored += static_cast<double>(stored);
    part.energy += t.energy;
    part.lost += square(t.tucker.error) * t.energy;
    part.initial += square(t.tucker.initial_error) * t.energy;
    part.best_lost += square(spectra[i].error(best)) * t.energy;
    part.sweeps = std::max(part.sweeps, t.tucker.sweeps);
    add_to(part.energies[0], spectra[i].heads());
    add_to(part.energies[1], spectra[i].tokens());
    add_to(part.energies[2], spectra[i].channels());
  }
}

void add(std::vector<TuckerPart>& parts, std::span<const TuckerPart> others) {
  if (parts.empty())
    for (const TuckerPart& other : others) parts.push_back({.layer = other.layer, .half = other.half});
  require<std::logic_error>(parts.size() == others.size(), others.size(), " parts, expected ", parts.size());
  for (size_t i = 0; i < others.size(); ++i) {
    const TuckerPart& other = others[i];
    TuckerPart& part = parts[i];
    for (const auto mean : {&TuckerPart::sizes, &TuckerPart::asked, &TuckerPart::ranks, &TuckerPart::best})
      add_to_mean(part.*mean, other.*mean, part.caches, other.caches);
    part.caches += other.caches;
    for (const auto sum : {&TuckerPart::elements, &TuckerPart::stored, &TuckerPart::energy, &TuckerPart::lost,
                           &TuckerPart::initial, &TuckerPart::best_lost})
      part.*sum += other.*sum;
    part.sweeps = std::max(part.sweeps, other.sweeps);
    for (size_t mode = 0; mode < part.energies.size(); ++mode)
      add_to(part.energies[mode], other.energies[mode]);
  }
}

TuckerTotal total(std::span<const TuckerPart> parts, Half half) {
  TuckerTotal sum;
  double energy = 0, lost = 0, initial = 0, errors = 0, elements = 0, stored = 0;
  int64_t count = 0;
  for (const TuckerPart& part : parts) {
    if (part.half != half) continue;
    energy += part.energy, lost += part.lost, initial += part.initial;
    errors += part.error();
    elements += part.elements, stored += part.stored;
    sum.sweeps = std::max(sum.sweeps, part.sweeps);
    ++count;
  }
  if (count == 0) return sum;
  sum.error = relative(lost, energy);
  sum.initial_error = relative(initial, energy);
  sum.mean_error = errors / static_cast<double>(count);
  sum.ratio = elements / stored;
  return sum;
}

std::vector<double> error_curve(std::span<const double> energies) {
  std::vector<double> errors(energies.size());
  const double all = std::accumulate(energies.begin(), energies.end(), 0.0);
  double left_out = 0;
  for (size_t rank = energies.size(); rank-- > 0;) {
    errors[rank] = relative(left_out, all);
    left_out += energies[rank];
  }
  return errors;
}

TuckerCurve curve_of(std::span<const TuckerPart> parts, Half half, size_t mode) {
  TuckerCurve curve{.half = half, .mode = mode};
  std::vector<double> sums;
  std::vector<std::vector<double>> layers;
  for (const TuckerPart& part : parts) {
    if (part.half != half) continue;
    add_to(sums, part.energies[mode]);
    layers.push_back(error_curve(part.energies[mode]));
  }
  curve.pooled = error_curve(sums);
  for (size_t rank = 0; rank < sums.size(); ++rank) {
    double least = 1, greatest = 0;
    for (const auto& layer : layers) {
      const double error = rank < layer.size() ? layer[rank] : 0;
      least = std::min(least, error), greatest = std::max(greatest, error);
    }
    curve.least.push_back(least), curve.greatest.push_back(greatest);
  }
  return curve;
}

std::vector<int64_t> shown_ranks(int64_t most) {
  std::vector<int64_t> ranks;
  for (int64_t power = 1; power <= most; power *= 2) {
    ranks.push_back(power);
    if (power >= 2 && power + power / 2 < most) ranks.push_back(power + power / 2);
  }
  if (most > 0 && ranks.back() != most) ranks.push_back(most);
  return ranks;
}

const TuckerOutcome* smallest_within(const TuckerStudy& study, std::string_view family, double percent) {
  const TuckerOutcome* best = nullptr;
  for (const TuckerOutcome& point : study.sweep) {
    if (point.family != family || !(point.outcome.ratio() > 1)) continue;
    if (!(point.outcome.delta_ppl_percent() < percent)) continue;
    if (best == nullptr || point.outcome.bytes() < best->outcome.bytes()) best = &point;
  }
  return best;
}

}  // namespace kvviz::analysis
