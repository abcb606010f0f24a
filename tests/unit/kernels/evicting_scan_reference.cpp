// SPDX-License-Identifier: MIT
#include "unit/kernels/evicting_scan_reference.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <set>

namespace kvviz::test {
namespace {

std::vector<float> normal_rows(int64_t rows, int64_t dim, int64_t gap, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(rows * (dim + gap)), std::numeric_limits<float>::quiet_NaN());
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < dim; ++c) values[static_cast<size_t>(row * (dim + gap) + c)] = normal(random);
  }
  return values;
}

/// The angle of a pair at a position: as RoPE's, a pair slower than the one before.
double angle(int64_t position, int64_t pair, int64_t pairs) {
  return static_cast<double>(position) *
         std::pow(100.0, -static_cast<double>(pair) / static_cast<double>(pairs));
}

std::vector<double> rotated(const float* row, const ScanCase& c, int64_t position) {
  std::vector<double> x(row, row + c.head_dim);
  for (int64_t p = 0; p < c.rotary_pairs; ++p) {
    const auto i = static_cast<size_t>(c.interleaved ? 2 * p : p);
    const auto j = static_cast<size_t>(c.interleaved ? 2 * p + 1 : p + c.rotary_pairs);
    const double a = angle(position, p, c.rotary_pairs), first = x[i], second = x[j];
    x[i] = first * std::cos(a) - second * std::sin(a);
    x[j] = first * std::sin(a) + second * std::cos(a);
  }
  return x;
}

using Weights = std::map<int64_t, double>;

Weights softmax(const std::map<int64_t, double>& logits) {
  double top = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const auto& [position, logit] : logits) top = std::max(top, logit);
  Weights weights;
  for (const auto& [position, logit] : logits) sum += weights[position] = std::exp(logit - top);
  for (auto& [position, weight] : weights) weight /= sum;
  return weights;
}

Weights aggregate(const std::vector<Weights>& heads, kernels::Aggregate how) {
  Weights all;
  for (const Weights& head : heads) {
    for (const auto& [position, weight] : head) {
      double& value = all[position];
      value = how == kernels::Aggregate::max ? std::max(value, weight) : value + weight;
    }
  }
  if (how == kernels::Aggregate::mean) {
    for (auto& [position, weight] : all) weight /= static_cast<double>(heads.size());
  }
  return all;
}

class Loop {
 public:
  Loop(ScanData& data, const ScanCase& c) : c_(c), owners_(data.owners()), input_(data.input()) {
    held_.resize(owners_.size());
    scores_.resize(owners_.size());
    result_.sets.resize(owners_.size());
    result_.heads.resize(static_cast<size_t>(c.query_heads));
  }

  ReferenceScan run() {
    for (int64_t t = 0; t < c_.tokens; ++t) {
      for (size_t i = 0; i < owners_.size(); ++i) attend(t, i);
      if (t < c_.prompt - 1) continue;
      const size_t together = c_.one_group ? owners_.size() : 1;
      for (size_t i = 0; i < owners_.size(); ++i) {
        if (c_.choice != Choice::shared_least_weight) choose(t, i);
        if (c_.choice == Choice::shared_least_weight && i % together == 0) share(t, i, i + together);
      }
    }
    for (size_t i = 0; i < owners_.size(); ++i) result_.sets[i].kept.assign(held_[i].begin(), held_[i].end());
    return std::move(result_);
  }

 private:
  double logit(const std::vector<double>& query, const std::vector<double>& key, double bias) const {
    const double x =
        static_cast<double>(c_.scale) * std::inner_product(query.begin(), query.end(), key.begin(), 0.0) +
        bias;
    const auto cap = static_cast<double>(c_.softcap);
    return cap > 0 ? cap * std::tanh(x / cap) : x;
  }
  std::vector<double> row(const kernels::HeadsView& view, int64_t head, int64_t token) const {
    return {view.at(head, token), view.at(head, token) + c_.head_dim};
  }
  std::vector<double> output(const Weights& weights, int64_t kv) const {
    std::vector<double> out(static_cast<size_t>(c_.head_dim));
    for (const auto& [position, weight] : weights) {
      for (size_t d = 0; d < out.size(); ++d)
        out[d] += weight * static_cast<double>(input_.v.at(kv, position)[d]);
    }
    return out;
  }

  void attend(int64_t t, size_t i) {
    const kernels::SlotOwner& owner = owners_[i];
    std::set<int64_t>& held = held_[i];
    held.insert(t);
    if (c_.window > 0) held.erase(t - c_.window);
    ReferenceSet& set = result_.sets[i];
    set.peak = std::max(set.peak, static_cast<int64_t>(held.size()));
    std::vector<Weights> heads, full_heads;
    for (int64_t h = owner.first_query_head; h < owner.first_query_head + owner.query_heads; ++h) {
      std::map<int64_t, double> logits, full_logits;
      int64_t rank = 0;
      const double slope = static_cast<double>(c_.alibi / static_cast<float>(h + 1));
      for (const int64_t p : held) {
        const int64_t last = std::ssize(held) - 1;
        logits[p] = c_.by_rank() ? logit(rotated(input_.query_pre_rope.at(h, t), c_, last),
                                         rotated(input_.key_pre_rope.at(owner.kv_head, p), c_, rank),
                                         slope * static_cast<double>(rank - last))
                                 : logit(row(input_.q, h, t), row(input_.k, owner.kv_head, p),
                                         slope * static_cast<double>(p - t));
        ++rank;
      }
      for (int64_t p = c_.window > 0 ? std::max<int64_t>(t + 1 - c_.window, 0) : 0; p <= t; ++p)
        full_logits[p] = logit(row(c_.own_full ? input_.q : input_.full_q, h, t),
                               row(c_.own_full ? input_.k : input_.full_k, owner.kv_head, p),
                               slope * static_cast<double>(p - t));
      heads.push_back(softmax(logits));
      full_heads.push_back(softmax(full_logits));
      compare(t, h, i, heads.back(), full_heads.back());
    }
    set.weights.push_back(aggregate(heads, c_.aggregate));
    set.full_weights.push_back(aggregate(full_heads, c_.aggregate));
    const bool full = c_.choice == Choice::least_full_weight;
    for (const int64_t p : held) scores_[i][p] += (full ? set.full_weights : set.weights).back().at(p);
  }

  void compare(int64_t t, int64_t h, size_t i, const Weights& weights, const Weights& full) {
    ReferenceScanHead& head = result_.heads[static_cast<size_t>(h)];
    const std::vector<double> out = output(weights, owners_[i].kv_head);
    const std::vector<double> want =
        c_.own_full ? output(full, owners_[i].kv_head) : row(input_.full_out, h, t);
    head.out.insert(head.out.end(), out.begin(), out.end());
    double difference = 0, norm = 0, mass = 0;
    for (size_t d = 0; d < out.size(); ++d) {
      difference += (out[d] - want[d]) * (out[d] - want[d]);
      norm += want[d] * want[d];
    }
    head.error.push_back(std::sqrt(difference / norm));
    head.full_norm.push_back(std::sqrt(norm));
    const double demand = std::max(0.01, 2.0 / static_cast<double>(t + 1));
    std::vector<double> others;
    for (const auto& [p, weight] : full) {
      const bool held = held_[i].count(p) > 0;
      if (held) mass += weight;
      if (p != t) others.push_back(weight);
      head.demands_low += weight >= demand * (1 + 1e-5);
      head.demands_high += weight >= demand * (1 - 1e-5);
      head.hits_low += held && weight >= demand * (1 + 1e-5);
      head.hits_high += held && weight >= demand * (1 - 1e-5);
    }
    std::sort(others.begin(), others.end(), std::greater<>());
    head.mass.push_back(mass);
    head.bound.push_back(
        std::accumulate(others.begin(), others.begin() + std::ssize(held_[i]) - 1, full.at(t)));
  }

  void drop(int64_t t, size_t i, int64_t position) {
    result_.sets[i].log.emplace_back(t, position);
    held_[i].erase(position);
    scores_[i].erase(position);
  }

  struct Lowest {
    double score = std::numeric_limits<double>::infinity();
    size_t set = 0;
    int64_t position = -1;
  };
  void look_for_lowest(size_t i, Lowest& lowest, double& second) const {
    for (const int64_t p : held_[i]) {
      const double score = scores_[i].at(p);
      second = std::min(second, std::max(score, lowest.score));
      if (score < lowest.score) lowest = {score, i, p};
    }
  }
  void drop_lowest(int64_t t, const Lowest& lowest, double second) {
    result_.closest = std::min(result_.closest, (second - lowest.score) / second);
    drop(t, lowest.set, lowest.position);
  }

  void choose(int64_t t, size_t i) {
    std::set<int64_t>& held = held_[i];
    if (c_.choice == Choice::many_at_once) {
      const std::vector<int64_t> before(held.begin(), held.end());
      for (const int64_t p : before) {
        if (t % 10 == 9 && p % 3 != 0) drop(t, i, p);
      }
      return;
    }
    while (c_.choice != Choice::nothing && std::ssize(held) > c_.budget) {
      if (c_.choice == Choice::oldest) drop(t, i, *held.begin());
      if (c_.choice == Choice::newest) drop(t, i, *held.rbegin());
      if (c_.choice == Choice::random) drop(t, i, *std::next(held.begin(), t * 7919 % std::ssize(held)));
      if (c_.choice == Choice::least_weight || c_.choice == Choice::least_full_weight) {
        Lowest lowest;
        double second = std::numeric_limits<double>::infinity();
        look_for_lowest(i, lowest, second);
        drop_lowest(t, lowest, second);
      }
    }
  }

  void share(int64_t t, size_t begin, size_t end) {
    while (true) {
      int64_t total = 0;
      Lowest lowest;
      double second = std::numeric_limits<double>::infinity();
      for (size_t i = begin; i < end; ++i) {
        total += std::ssize(held_[i]);
        look_for_lowest(i, lowest, second);
      }
      if (total <= c_.budget * static_cast<int64_t>(end - begin)) return;
      drop_lowest(t, lowest, second);
    }
  }

  const ScanCase& c_;
  std::vector<kernels::SlotOwner> owners_;
  kernels::ScanInput input_;
  std::vector<std::set<int64_t>> held_;
  std::vector<std::map<int64_t, double>> scores_;
  ReferenceScan result_;
};

}  // namespace

ScanData::ScanData(const ScanCase& c)
    : query_pre_rope(normal_rows(c.query_heads * c.tokens, c.head_dim, c.gap, 10 * c.seed)),
      key_pre_rope(normal_rows(c.kv_heads * c.tokens, c.head_dim, c.gap, 10 * c.seed + 1)),
      out(query_pre_rope.size(), -7.0F),
      c_(c) {
  q = query_pre_rope;
  k = key_pre_rope;
  v = normal_rows(c.kv_heads * c.tokens, c.head_dim, c.gap, 10 * c.seed + 2);
  if (!c.own_full) {
    full_q = normal_rows(c.query_heads * c.tokens, c.head_dim, c.gap, 10 * c.seed + 3);
    full_k = normal_rows(c.kv_heads * c.tokens, c.head_dim, c.gap, 10 * c.seed + 4);
    full_out = normal_rows(c.query_heads * c.tokens, c.head_dim, c.gap, 10 * c.seed + 5);
  }
  for (int64_t position = 0; c.rotary_pairs > 0 && position < c.tokens; ++position) {
    for (int64_t p = 0; p < c.rotary_pairs; ++p) {
      cosine.push_back(static_cast<float>(std::cos(angle(position, p, c.rotary_pairs))));
      sine.push_back(static_cast<float>(std::sin(angle(position, p, c.rotary_pairs))));
    }
    const auto rotate = [&](std::vector<float>& to, const std::vector<float>& from, int64_t heads) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = (h * c.tokens + position) * (c.head_dim + c.gap);
        const std::vector<double> row = rotated(from.data() + at, c, position);
        std::transform(row.begin(), row.end(), to.begin() + at,
                       [](double x) { return static_cast<float>(x); });
      }
    };
    rotate(q, query_pre_rope, c.query_heads);
    rotate(k, key_pre_rope, c.kv_heads);
  }
}

kernels::ScanShape ScanData::shape() const {
  kernels::ScanShape shape{.query_heads = c_.query_heads,
                           .kv_heads = c_.kv_heads,
                           .head_dim = c_.head_dim,
                           .scale = c_.scale,
                           .softcap = c_.softcap,
                           .window = c_.window};
  for (int64_t h = 0; c_.alibi != 0 && h < c_.query_heads; ++h)
    shape.alibi_slopes.push_back(c_.alibi / static_cast<float>(h + 1));
  return shape;
}

std::vector<kernels::SlotOwner> ScanData::owners() const {
  std::vector<kernels::SlotOwner> owners;
  const int64_t group = c_.query_heads / c_.kv_heads;
  for (int64_t h = 0; h < (c_.per_query_head ? c_.query_heads : c_.kv_heads); ++h) {
    owners.push_back(c_.per_query_head ? kernels::SlotOwner{h / group, h, 1}
                                       : kernels::SlotOwner{h, h * group, group});
  }
  return owners;
}

kernels::ScanInput ScanData::input(int64_t first, int64_t tokens) {
  const int64_t row = c_.head_dim + c_.gap, head = c_.tokens * row;
  const auto view = [&](const std::vector<float>& values) {
    return values.empty() ? kernels::HeadsView{} : kernels::HeadsView{values.data() + first * row, head, row};
  };
  return {.tokens = tokens,
          .q = view(q),
          .k = view(k),
          .v = view(v),
          .query_pre_rope = view(query_pre_rope),
          .key_pre_rope = view(key_pre_rope),
          .out = {out.data() + first * row, head, row},
          .full_q = view(full_q),
          .full_k = view(full_k),
          .full_out = view(full_out)};
}

kernels::RotaryTable ScanData::table() const {
  return {.cosine = cosine.data(),
          .sine = sine.data(),
          .positions = c_.tokens,
          .pairs = c_.rotary_pairs,
          .interleaved = c_.interleaved};
}

ReferenceScan reference_scan(ScanData& data, const ScanCase& c) {
  return Loop(data, c).run();
}

}  // namespace kvviz::test
