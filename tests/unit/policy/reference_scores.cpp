// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <numeric>

#include "unit/policy/reference.hpp"

namespace kvviz::reference {
namespace {

/// Scores from a number per key.
template <class Number>
ScoreKeys by_key(const Number& number) {
  return [number](const View& view) {
    Scores scores;
    for (const size_t p : view.held[view.now]) scores.value.push_back(number(view, p));
    return scores;
  };
}

}  // namespace

ScoreKeys age() {
  return by_key([](const View&, size_t p) { return static_cast<double>(p); });
}

ScoreKeys accumulated() {
  return by_key([](const View& view, size_t p) {
    double sum = 0;
    for (size_t i = p; i <= view.now; ++i) sum += view.weight[i][p];
    return sum;
  });
}

ScoreKeys last_use() {
  return [](const View& view) {
    Scores scores;
    for (const size_t p : view.held[view.now]) {
      double last = static_cast<double>(p);
      bool doubtful = false;
      for (size_t i = p + 1; i <= view.now; ++i) {
        const double share = 1 / static_cast<double>(view.held[i].size());
        if (view.weight[i][p] >= share) last = static_cast<double>(i);
        doubtful = doubtful || std::fabs(view.weight[i][p] - share) < rounding * share;
      }
      scores.value.push_back(last);
      scores.slack.push_back(doubtful ? infinity : 0);
    }
    return scores;
  };
}

ScoreKeys observed(size_t queries, size_t kernel, bool maximum) {
  return [=](const View& view) {
    const std::vector<size_t>& held = view.held[view.now];
    const size_t first = view.now + 1 - std::min(queries, view.now + 1);
    std::vector<double> sum;
    size_t older = 0;
    for (const size_t p : held) {
      double total = 0;
      for (size_t i = first; i <= view.now; ++i) total += p <= i ? view.weight[i][p] : 0;
      sum.push_back(total);
      older += p < first;
    }
    Scores scores;
    for (size_t at = 0; at < held.size(); ++at) {
      double total = 0, most = 0;
      for (size_t i = at < kernel / 2 ? 0 : at - kernel / 2; i < std::min(at + kernel / 2 + 1, older); ++i) {
        total += sum[i];
        most = std::max(most, sum[i]);
      }
      const double pooled = maximum ? most : total / static_cast<double>(kernel);
      scores.value.push_back(at < older ? pooled : sum[at]);
    }
    return scores;
  };
}

ScoreKeys small_norm() {
  return by_key([](const View& view, size_t p) { return -std::sqrt(dot(view.key[p], view.key[p])); });
}

ScoreKeys unlike_mean() {
  return [](const View& view) {
    const std::vector<size_t>& held = view.held[view.now];
    std::vector<double> mean(view.key.front().size());
    for (const size_t p : held) {
      const double norm = std::sqrt(dot(view.key[p], view.key[p]));
      for (size_t c = 0; c < mean.size(); ++c)
        mean[c] += view.key[p][c] / norm / static_cast<double>(held.size());
    }
    Scores scores;
    for (const size_t p : held)
      scores.value.push_back(-dot(view.key[p], mean) /
                             std::sqrt(dot(view.key[p], view.key[p]) * dot(mean, mean)));
    return scores;
  };
}

ScoreKeys lag_rank(size_t sinks, size_t lag) {
  const auto spread = [lag](const Rows& x, size_t begin) {
    const size_t dim = x.front().size();
    std::vector<double> low(dim, infinity), high(dim, -infinity), out;
    for (size_t t = begin + lag; t < begin + 2 * lag; ++t) {
      for (size_t c = 0; c < dim; ++c) {
        low[c] = std::min(low[c], x[t][c]);
        high[c] = std::max(high[c], x[t][c]);
      }
    }
    for (size_t t = begin; t < begin + lag; ++t) {
      std::vector<double> scaled;
      for (size_t c = 0; c < dim; ++c)
        scaled.push_back((x[t][c] - low[c]) / (high[c] > low[c] ? high[c] - low[c] : 1));
      const double mean = std::accumulate(scaled.begin(), scaled.end(), 0.0) / static_cast<double>(dim);
      double square = 0;
      for (const double s : scaled) square += (s - mean) * (s - mean);
      out.push_back(std::sqrt(square / static_cast<double>(dim - 1)));
    }
    std::vector<size_t> all(out.size());
    std::iota(all.begin(), all.end(), size_t{0});
    return softmax(out, all);
  };
  return by_key([=](const View& view, size_t p) {
    if (p < sinks) return infinity;
    const size_t begin = sinks + (p - sinks) / lag * lag;
    if (begin + 2 * lag > view.now + 1)
      return 1e6 + static_cast<double>(p);  // no rank yet: safe, the oldest least
    const std::vector<double> of_keys = spread(view.key, begin), of_values = spread(view.value, begin);
    size_t rank = 0;
    const double mine = of_keys[p - begin] + of_values[p - begin];
    for (size_t i = 0; i < lag; ++i) rank += of_keys[i] + of_values[i] < mine;
    return static_cast<double>(rank) / static_cast<double>(lag);
  });
}

ScoreKeys future_weight() {
  return by_key([](const View& view, size_t p) {
    double sum = 0;
    for (size_t i = view.now + 1; i < view.full.size(); ++i) sum += view.full[i][p];
    return sum;
  });
}

ScoreKeys expected(const test::Text& text, const ExpectedOptions& options) {
  return [=, &text](const View& view) {
    // Steps between two fits go by the one before.
    size_t fit = view.decisions.front();
    for (const size_t decision : view.decisions) {
      if (decision - fit >= options.refresh) fit = decision;
    }
    const size_t dim = view.key.front().size(), pairs = dim / 2;
    // Mean of the rotations to the positions ahead.
    const size_t begin = fit + 1, rows = text.cosine.size() / pairs;
    const size_t end = std::min(begin + options.future, rows);
    Rows turn(dim, std::vector<double>(dim));
    for (size_t c = 0; c < dim; ++c) turn[c][c] = text.cosine.empty();
    for (size_t p = 0; p < pairs && !text.cosine.empty(); ++p) {
      for (size_t at = begin; at < end; ++at) {
        const double n = static_cast<double>(end - begin);
        turn[p][p] += static_cast<double>(text.cosine[at * pairs + p]) / n;
        turn[p + pairs][p + pairs] += static_cast<double>(text.cosine[at * pairs + p]) / n;
        turn[p][p + pairs] -= static_cast<double>(text.sine[at * pairs + p]) / n;
        turn[p + pairs][p] += static_cast<double>(text.sine[at * pairs + p]) / n;
      }
    }
    std::vector<double> weight(view.now + 1);
    for (size_t head = 0; head < view.query.size(); ++head) {
      const Rows& query = view.query[head];
      // Turned queries: their mean and covariance are R mu and R S R^T.
      Rows turned;
      for (size_t i = options.sinks; i <= fit; ++i) {
        std::vector<double> row;
        for (size_t c = 0; c < dim; ++c) row.push_back(dot(turn[c], query[i]));
        turned.push_back(row);
      }
      const auto n = static_cast<double>(turned.size());
      std::vector<double> mean(dim);
      for (const std::vector<double>& row : turned) {
        for (size_t c = 0; c < dim; ++c) mean[c] += row[c] / n;
      }
      // k^T S k is the variance of the logits k . q.
      const auto z = [&](size_t p) {
        const double centre = dot(view.key[p], mean);
        double variance = 0;
        for (const std::vector<double>& row : turned)
          variance += (dot(view.key[p], row) - centre) * (dot(view.key[p], row) - centre) / n;
        // ALiBi for the next query; for a later one every key gets the same more.
        const double bias = view.slope[head] * (static_cast<double>(p) - static_cast<double>(fit + 1));
        return options.scale * centre + options.scale * options.scale * variance / 2 + bias;
      };
      double top = -infinity, total = 0;
      for (const size_t p : view.held[fit]) top = std::max(top, z(p));
      for (const size_t p : view.held[fit]) total += std::exp(z(p) - top);
      for (const size_t p : view.held[view.now])
        weight[p] += std::exp(z(p) - top) / total / static_cast<double>(view.query.size());
    }
    Scores scores;
    for (const size_t p : view.held[view.now]) {
      scores.value.push_back((weight[p] + options.epsilon) * std::sqrt(dot(view.value[p], view.value[p])));
      scores.slack.push_back(1e-4 * scores.value.back());  // e^z of an f32 z
    }
    return scores;
  };
}

}  // namespace kvviz::reference
