// SPDX-License-Identifier: MIT
#include "unit/policy/reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

namespace kvviz::reference {
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

std::vector<double> softmax(const std::vector<double>& logits, const std::vector<size_t>& keys) {
  double total = 0, top = -infinity;
  for (const size_t p : keys) top = std::max(top, logits[p]);
  std::vector<double> weights(logits.size());
  for (const size_t p : keys) total += weights[p] = std::exp(logits[p] - top);
  for (double& w : weights) w /= total;
  return weights;
}

namespace {

Rows rows_of(const std::vector<float>& data, const test::Text& text, size_t head) {
  const auto dim = static_cast<size_t>(text.shape.head_dim), tokens = static_cast<size_t>(text.tokens);
  Rows rows;
  for (size_t t = 0; t < tokens; ++t) {
    const auto from = data.begin() + static_cast<std::ptrdiff_t>((head * tokens + t) * dim);
    rows.emplace_back(from, from + static_cast<std::ptrdiff_t>(dim));
  }
  return rows;
}

/// Query heads of each slot set.
std::vector<std::vector<size_t>> members(const test::Text& text, bool per_query_head) {
  const auto heads = static_cast<size_t>(text.shape.query_heads);
  const size_t group = per_query_head ? 1 : heads / static_cast<size_t>(text.shape.kv_heads);
  std::vector<std::vector<size_t>> sets(heads / group);
  for (size_t h = 0; h < heads; ++h) sets[h / group].push_back(h);
  return sets;
}

size_t kv_head(const test::Text& text, size_t query_head) {
  return query_head * static_cast<size_t>(text.shape.kv_heads) / static_cast<size_t>(text.shape.query_heads);
}

double slope(const test::Text& text, size_t query_head) {
  return text.shape.alibi_slopes.empty() ? 0 : static_cast<double>(text.shape.alibi_slopes[query_head]);
}

bool passed(const test::Text& text, size_t now, size_t key) {
  return text.shape.window > 0 && now - key >= static_cast<size_t>(text.shape.window);
}

/// One number per key from the query heads of a set.
std::vector<double> aggregate(const Rows& heads, kernels::Aggregate how) {
  std::vector<double> out(heads.front().size());
  for (size_t p = 0; p < out.size(); ++p) {
    for (const std::vector<double>& head : heads)
      out[p] = how == kernels::Aggregate::max ? std::max(out[p], head[p]) : out[p] + head[p];
    if (how != kernels::Aggregate::max) out[p] /= static_cast<double>(heads.size());
  }
  return out;
}

struct Logits {
  std::vector<Rows> of_head;  // [query head][step][key]
  explicit Logits(const test::Text& text) {
    for (size_t h = 0; h < static_cast<size_t>(text.shape.query_heads); ++h) {
      const Rows q = rows_of(text.q, text, h), k = rows_of(text.k, text, kv_head(text, h));
      Rows logits(q.size(), std::vector<double>(k.size(), -infinity));
      for (size_t i = 0; i < q.size(); ++i) {
        for (size_t j = 0; j <= i; ++j)
          logits[i][j] = static_cast<double>(text.shape.scale) * dot(q[i], k[j]) -
                         slope(text, h) * static_cast<double>(i - j);
      }
      of_head.push_back(logits);
    }
  }
  std::vector<double> weights(const std::vector<size_t>& heads, size_t step, const std::vector<size_t>& keys,
                              kernels::Aggregate how) const {
    Rows rows;
    for (const size_t h : heads) rows.push_back(softmax(of_head[h][step], keys));
    return aggregate(rows, how);
  }
};

/// The `count` candidates with the lowest (score, position).
std::vector<size_t> lowest(const View& view, const Scores& scores, const Protected& keep, size_t count) {
  std::vector<std::pair<double, size_t>> candidates;
  const std::vector<size_t>& held = view.held[view.now];
  for (size_t i = 0; i < held.size(); ++i) {
    if (held[i] >= keep.sinks && held[i] + keep.recent < view.now + 1)
      candidates.emplace_back(scores.value[i], held[i]);
  }
  std::sort(candidates.begin(), candidates.end());
  std::vector<size_t> positions;
  for (size_t i = 0; i < std::min(count, candidates.size()); ++i) positions.push_back(candidates[i].second);
  return positions;
}

}  // namespace

Decide each_set(const ScoreKeys& score, const Protected& keep) {
  return [=](const std::vector<View>& views, bool) {
    Verdict verdict;
    for (const View& view : views) {
      const size_t held = view.held[view.now].size();
      verdict.scores.push_back(held > keep.budget ? score(view) : Scores{std::vector<double>(held)});
      verdict.leave.push_back(
          lowest(view, verdict.scores.back(), keep, held > keep.budget ? held - keep.budget : 0));
    }
    return verdict;
  };
}

Decide all_alike(const Protected& keep, bool maximum) {
  return [=](const std::vector<View>& views, bool) {
    Scores scores;
    for (const size_t p : views.front().held[views.front().now]) {
      double total = 0;
      for (const View& view : views) {
        const double weight = view.weight[view.now][p];
        total = maximum ? std::max(total, weight) : total + weight;
      }
      scores.value.push_back(total);
    }
    const size_t held = scores.value.size();
    const std::vector<size_t> leave =
        lowest(views.front(), scores, keep, held > keep.budget ? held - keep.budget : 0);
    return Verdict{.leave = std::vector<std::vector<size_t>>(views.size(), leave),
                   .scores = std::vector<Scores>(views.size(), scores)};
  };
}

Decide shared(const ScoreKeys& score, const Protected& keep, double floor) {
  return [=](const std::vector<View>& views, bool after_prompt) {
    Verdict verdict;
    verdict.leave.resize(views.size());
    size_t held = 0;
    for (const View& view : views) held += view.held[view.now].size();
    const size_t total = keep.budget * views.size();
    for (const View& view : views)
      verdict.scores.push_back(held > total ? score(view)
                                            : Scores{std::vector<double>(view.held[view.now].size())});
    if (held <= total) return verdict;
    const size_t heavy = keep.budget - keep.sinks - keep.recent;
    if (after_prompt) {
      // All candidates of all heads, best first; of equal ones the newest, then the last head.
      std::vector<std::tuple<double, size_t, size_t>> all;
      for (size_t s = 0; s < views.size(); ++s) {
        const std::vector<size_t>& keys = views[s].held[views[s].now];
        for (size_t i = 0; i < keys.size(); ++i) {
          if (keys[i] >= keep.sinks && keys[i] + keep.recent < views[s].now + 1)
            all.emplace_back(verdict.scores[s].value[i], keys[i], s);
        }
      }
      std::sort(all.rbegin(), all.rend());
      std::vector<double> own(views.size());
      for (size_t i = 0; i < std::min(heavy * views.size(), all.size()); ++i) own[std::get<2>(all[i])] += 1;
      for (size_t s = 0; s < views.size(); ++s) {
        const auto share =
            static_cast<size_t>(std::floor(own[s] * (1 - floor) + floor * static_cast<double>(heavy) + 0.5));
        const size_t stay = keep.sinks + keep.recent + share, now = views[s].held[views[s].now].size();
        verdict.leave[s] = lowest(views[s], verdict.scores[s], keep, now > stay ? now - stay : 0);
        held -= verdict.leave[s].size();
      }
    }
    const auto safe = static_cast<size_t>(std::floor(floor * static_cast<double>(heavy) + 0.5));
    for (; held > total; --held) {
      std::tuple<double, size_t, size_t> least(infinity, 0, 0);
      for (size_t s = 0; s < views.size(); ++s) {
        const size_t stays = views[s].held[views[s].now].size() - verdict.leave[s].size();
        if (stays <= keep.sinks + keep.recent + safe) continue;
        const std::vector<size_t> order =
            lowest(views[s], verdict.scores[s], keep, verdict.leave[s].size() + 1);
        const std::vector<size_t>& keys = views[s].held[views[s].now];
        const size_t at =
            static_cast<size_t>(std::lower_bound(keys.begin(), keys.end(), order.back()) - keys.begin());
        least = std::min(least, {verdict.scores[s].value[at], order.back(), s});
      }
      verdict.leave[std::get<2>(least)].push_back(std::get<1>(least));
    }
    return verdict;
  };
}

std::vector<Rows> full_weights(const test::Text& text, const policy::PolicyOptions& options) {
  const Logits logits(text);
  std::vector<Rows> all;
  for (const std::vector<size_t>& heads : members(text, options.per_query_head)) {
    Rows rows;
    for (size_t t = 0; t < static_cast<size_t>(text.tokens); ++t) {
      std::vector<size_t> keys;
      for (size_t p = 0; p <= t; ++p) {
        if (!passed(text, t, p)) keys.push_back(p);
      }
      rows.push_back(logits.weights(heads, t, keys, options.aggregate));
    }
    all.push_back(rows);
  }
  return all;
}

std::vector<std::vector<double>> total_weights(const test::Text& text, const policy::PolicyOptions& options) {
  std::vector<std::vector<double>> totals;
  for (const Rows& rows : full_weights(text, options)) {
    totals.emplace_back(rows.size());
    for (const std::vector<double>& row : rows) {
      for (size_t p = 0; p < row.size(); ++p) totals.back()[p] += row[p];
    }
  }
  return totals;
}

Replay replay(const test::Text& text, const test::Run& run, const Decide& decide,
              const test::RunOptions& options) {
  const Logits logits(text);
  const std::vector<std::vector<size_t>> sets = members(text, options.policy.per_query_head);
  const std::vector<Rows> full = full_weights(text, options.policy);
  Replay result;
  std::vector<View> views(sets.size());
  for (size_t s = 0; s < sets.size(); ++s) {
    views[s].full = full[s];
    views[s].key = rows_of(text.k, text, kv_head(text, sets[s].front()));
    views[s].value = rows_of(text.v, text, kv_head(text, sets[s].front()));
    for (const size_t h : sets[s]) {
      views[s].query.push_back(rows_of(text.q_pre.empty() ? text.q : text.q_pre, text, h));
      views[s].slope.push_back(slope(text, h));
    }
  }
  std::vector<std::set<size_t>> stored(sets.size());
  const auto tokens = static_cast<size_t>(text.tokens), prompt = static_cast<size_t>(options.prompt);
  for (size_t t = 0; t < tokens; ++t) {
    const bool may_evict = t + 1 >= prompt;
    for (size_t s = 0; s < sets.size(); ++s) {
      View& view = views[s];
      stored[s].insert(t);
      std::erase_if(stored[s], [&](size_t p) { return passed(text, t, p); });
      view.now = t;
      view.held.emplace_back(stored[s].begin(), stored[s].end());
      view.weight.push_back(logits.weights(sets[s], t, view.held.back(), options.policy.aggregate));
      if (may_evict && view.held.back().size() > static_cast<size_t>(options.budget))
        view.decisions.push_back(t);
    }
    const Verdict verdict = may_evict ? decide(views, prompt > 1 && t + 1 == prompt)
                                      : Verdict{.leave = std::vector<std::vector<size_t>>(sets.size()),
                                                .scores = std::vector<Scores>(sets.size())};
    // (score, slack) of what only one of the two drops.
    double theirs = 0, ours = 0, slack = 0;
    size_t only_theirs = 0, only_ours = 0;
    for (size_t s = 0; s < sets.size(); ++s) {
      std::set<size_t> dropped;
      for (const auto& [step, position] : run.log[s]) {
        if (static_cast<size_t>(step) == t) dropped.insert(static_cast<size_t>(position));
      }
      const std::set<size_t> wanted(verdict.leave[s].begin(), verdict.leave[s].end());
      result.decisions += std::ssize(dropped);
      const std::vector<size_t>& held = views[s].held[t];
      for (const size_t p : dropped) {
        if (!stored[s].contains(p)) {
          result.difference = "set " + std::to_string(s) + " drops a key that it does not hold";
          return result;
        }
      }
      for (size_t i = 0; i < held.size() && may_evict; ++i) {
        const bool gone = dropped.contains(held[i]), want = wanted.contains(held[i]);
        if (gone == want) continue;
        const double score = verdict.scores[s].value[i];
        slack +=
            verdict.scores[s].slack.empty() ? rounding * (1 + std::fabs(score)) : verdict.scores[s].slack[i];
        (gone ? theirs : ours) += score;
        ++(gone ? only_theirs : only_ours);
      }
      if (!may_evict && !dropped.empty()) {
        result.difference = "step " + std::to_string(t) + " drops keys of the prompt";
        return result;
      }
      for (const size_t p : dropped) stored[s].erase(p);
    }
    result.near_ties += static_cast<int64_t>(only_theirs);
    if (only_theirs != only_ours || theirs - ours > slack) {
      result.difference = "step " + std::to_string(t) + ": " + std::to_string(only_theirs) +
                          " other keys with scores of " + std::to_string(theirs) + " left than the " +
                          std::to_string(only_ours) + " with " + std::to_string(ours);
      return result;
    }
  }
  for (size_t s = 0; s < sets.size(); ++s) {
    const std::vector<size_t> kept(run.kept[s].begin(), run.kept[s].end());
    if (kept != std::vector<size_t>(stored[s].begin(), stored[s].end()))
      result.difference = "set " + std::to_string(s) + " ends with other keys than its log says";
  }
  return result;
}

std::vector<std::vector<Left>> heavy_by_full_rows(const test::Text& text, const Protected& keep,
                                                  const test::RunOptions& options) {
  std::vector<std::vector<Left>> left;
  for (const Rows& full : full_weights(text, options.policy)) {
    std::vector<double> score(full.size());
    std::set<size_t> heavy, stored;
    left.emplace_back();
    for (size_t t = 0; t < full.size(); ++t) {
      stored.insert(t);
      if (t >= keep.sinks) heavy.insert(t);
      for (const size_t p : heavy) score[p] += full[t][p];
      std::erase_if(stored, [&](size_t p) { return passed(text, t, p); });
      std::erase_if(heavy, [&](size_t p) { return passed(text, t, p); });
      if (t + 1 < static_cast<size_t>(options.prompt) || t < keep.budget) continue;
      while (heavy.size() > keep.budget - keep.sinks - keep.recent)
        heavy.erase(std::min_element(heavy.begin(), heavy.end(),
                                     [&](size_t a, size_t b) { return score[a] < score[b]; }));
      std::erase_if(stored, [&](size_t p) {
        const bool leaves = p >= keep.sinks && p + keep.recent < t + 1 && !heavy.contains(p);
        if (leaves) left.back().push_back({t, p});
        return leaves;
      });
    }
  }
  return left;
}

std::vector<std::vector<Left>> heavy_by_all_rows(const test::Text& text, const Protected& keep,
                                                 const test::RunOptions& options) {
  std::vector<std::vector<Left>> left;
  for (const std::vector<double>& total : total_weights(text, options.policy)) {
    std::vector<std::pair<double, size_t>> order;
    for (size_t p = keep.sinks; p < total.size(); ++p) order.emplace_back(-total[p], p);
    std::sort(order.begin(), order.end());
    std::set<size_t> heavy, stored;
    for (size_t i = 0; i < std::min(keep.budget - keep.sinks - keep.recent, order.size()); ++i)
      heavy.insert(order[i].second);
    left.emplace_back();
    for (size_t t = 0; t < total.size(); ++t) {
      stored.insert(t);
      std::erase_if(stored, [&](size_t p) { return passed(text, t, p); });
      if (t + 1 < static_cast<size_t>(options.prompt) || t < keep.budget) continue;
      std::erase_if(stored, [&](size_t p) {
        const bool leaves = p >= keep.sinks && p + keep.recent < t + 1 && !heavy.contains(p);
        if (leaves) left.back().push_back({t, p});
        return leaves;
      });
    }
  }
  return left;
}

}  // namespace kvviz::reference
