// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "support/close.hpp"
#include "unit/policy/text.hpp"

using namespace kvviz;
using test::Tol;

namespace {

/// Twelve tokens in one head: logits ((5i + 3j^2 + 2ij) mod 17) / 4, 3 more for key 5; values (j^2 mod 5,
/// 3j mod 7).
test::Text toy() {
  std::vector<std::vector<double>> logits(12, std::vector<double>(12)), values;
  for (int i = 0; i < 12; ++i) {
    for (int j = 0; j < 12; ++j)
      logits[static_cast<size_t>(i)][static_cast<size_t>(j)] =
          (5 * i + 3 * j * j + 2 * i * j) % 17 / 4.0 + (j == 5 ? 3 : 0);
    values.push_back({static_cast<double>(i * i % 5), static_cast<double>(3 * i % 7)});
  }
  return test::text_of_logits(logits, values);
}

/// Adds up the weights that a rule's keys receive.
class Recorder : public kernels::EvictionRule {
 public:
  Recorder(std::unique_ptr<kernels::EvictionRule> rule, std::map<int64_t, double>& received,
           std::map<int64_t, double>& scores)
      : rule_(std::move(rule)), received_(received), scores_(scores) {}
  Needs needs() const override {
    Needs needs = rule_->needs();
    needs.weights = true;
    return needs;
  }
  void after_step(const kernels::ScanStep& step, std::span<kernels::SlotSet> sets) override {
    kernels::SlotSet& set = sets.front();
    std::map<int64_t, int64_t> column;
    for (int64_t c = 0; c < set.columns(); ++c) {
      if (set.position(c) < 0) continue;
      column[set.position(c)] = c;
      received_[set.position(c)] += static_cast<double>(set.weights()[static_cast<size_t>(c)]);
    }
    rule_->after_step(step, sets);
    for (const auto& [position, c] : column) scores_[position] = set.scores()[static_cast<size_t>(c)];
  }

 private:
  std::unique_ptr<kernels::EvictionRule> rule_;
  std::map<int64_t, double>&received_, &scores_;
};

struct Traced {
  test::Run run;
  std::map<int64_t, double> received, scores;  // by position, of the dropped keys as well
};

Traced trace(std::string_view policy, int64_t budget, std::optional<int64_t> sinks = {}) {
  test::RunOptions options;
  options.budget = budget;
  options.policy.sinks = sinks;
  options.totals = {std::vector<double>(12, 1.0)};
  Traced result;
  const test::Text text = toy();
  std::vector<kernels::DecisionGroup> groups = test::groups_of(text, policy, options);
  groups.front().rule =
      std::make_unique<Recorder>(std::move(groups.front().rule), result.received, result.scores);
  result.run = test::run(text, std::move(groups), options);
  return result;
}

struct Golden {
  const char* policy;
  int64_t budget;
  std::optional<int64_t> sinks;
  std::vector<std::pair<int, int>> evictions;
  std::vector<int32_t> kept;
  double mass, least, last;
  double error, last_error;
};

// The table of toy traces; masses and errors are printed there to six decimals.
const std::vector<Golden> goldens{{"window",
                                   5,
                                   {},
                                   {{5, 0}, {6, 1}, {7, 2}, {8, 3}, {9, 4}, {10, 5}, {11, 6}},
                                   {7, 8, 9, 10, 11},
                                   .895231,
                                   .658309,
                                   .658309,
                                   .070510,
                                   .098650},
                                  {"streaming_llm",
                                   5,
                                   2,
                                   {{5, 2}, {6, 3}, {7, 4}, {8, 5}, {9, 6}, {10, 7}, {11, 8}},
                                   {0, 1, 9, 10, 11},
                                   .840939,
                                   .437542,
                                   .517791,
                                   .156434,
                                   .335001},
                                  {"h2o",
                                   5,
                                   {},
                                   {{5, 3}, {6, 4}, {7, 2}, {8, 6}, {9, 7}, {10, 8}, {11, 9}},
                                   {0, 1, 5, 10, 11},
                                   .885755,
                                   .481358,
                                   .481358,
                                   .149307,
                                   .567572},
                                  {"h2o",
                                   4,
                                   {},
                                   {{4, 2}, {5, 3}, {6, 4}, {7, 1}, {8, 6}, {9, 7}, {10, 8}, {11, 9}},
                                   {0, 5, 10, 11},
                                   .850461,
                                   .403555,
                                   .403555,
                                   .209814,
                                   .596795},
                                  {"h2o",
                                   6,
                                   {},
                                   {{6, 3}, {7, 4}, {8, 1}, {9, 6}, {10, 7}, {11, 8}},
                                   {0, 2, 5, 9, 10, 11},
                                   .912738,
                                   .605015,
                                   .605015,
                                   .070464,
                                   .289580},
                                  {"h2o:mask",
                                   6,
                                   {},
                                   {{6, 3}, {7, 4}, {8, 1}, {9, 6}, {10, 7}, {11, 8}},
                                   {0, 2, 5, 9, 10, 11},
                                   .912738,
                                   .605015,
                                   .605015,
                                   .070464,
                                   .289580},
                                  {"tova",
                                   5,
                                   {},
                                   {{5, 1}, {6, 4}, {7, 0}, {8, 6}, {9, 3}, {10, 2}, {11, 9}},
                                   {5, 7, 8, 10, 11},
                                   .900185,
                                   .622442,
                                   .769224,
                                   .070131,
                                   .084828},
                                  {"lru",
                                   5,
                                   {},
                                   {{5, 0}, {6, 3}, {7, 1}, {8, 6}, {9, 7}, {10, 2}, {11, 4}},
                                   {5, 8, 9, 10, 11},
                                   .884947,
                                   .545163,
                                   .568264,
                                   .089990,
                                   .301906}};

double mean(const std::vector<float>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0) / static_cast<double>(numbers.size());
}

}  // namespace

TEST_CASE("[policy] the golden toy traces") {
  // Half a unit of the last printed decimal, and the rounding of f32 weights.
  const Tol tol{.abs = 1e-6};
  for (const Golden& golden : goldens) {
    CAPTURE(golden.policy);
    CAPTURE(golden.budget);
    const Traced traced = trace(golden.policy, golden.budget, golden.sinks);
    std::vector<std::pair<int, int>> evictions;
    for (const auto& [step, position] : traced.run.log.front()) evictions.emplace_back(step, position);
    CHECK(evictions == golden.evictions);
    CHECK(traced.run.kept.front() == golden.kept);
    const kernels::HeadComparison& head = traced.run.compared.front();
    REQUIRE(head.mass.size() == 12);
    test::check_close(mean(head.mass), golden.mass, tol);
    test::check_close(*std::ranges::min_element(head.mass), golden.least, tol);
    test::check_close(head.mass.back(), golden.last, tol);
    test::check_close(mean(head.error), golden.error, tol);
    test::check_close(head.error.back(), golden.last_error, tol);
  }
}

TEST_CASE("[policy] the accumulated weights of the golden toy traces") {
  struct Row {
    const char* policy;
    int64_t budget;
    std::vector<std::pair<int64_t, double>> received;
  };
  const std::vector<Row> rows{
      {"h2o", 5, {{0, 2.777205}, {1, 1.688337}, {5, 4.568093}, {10, .293496}, {11, .266486}}},
      {"h2o", 6, {{0, 2.732349}, {2, 1.472237}, {5, 4.350389}, {9, .231048}, {10, .234821}, {11, .212020}}},
      {"tova", 5, {{5, 4.470756}, {7, .732551}, {8, .375061}, {10, .198331}, {11, .166759}}}};
  for (const Row& row : rows) {
    CAPTURE(row.policy);
    const Traced traced = trace(row.policy, row.budget);
    for (const auto& [position, want] : row.received) {
      CAPTURE(position);
      test::check_close(traced.received.at(position), want, Tol{.abs = 2e-6});
      if (std::string_view(row.policy) == "h2o")
        test::check_close(traced.scores.at(position), want, Tol{.abs = 2e-6});
    }
  }
}

TEST_CASE("[policy] all the weight that was ever given adds up to the number of steps") {
  for (const int64_t budget : {2, 3, 5, 6, 9}) {
    const Traced traced = trace("h2o", budget);
    double received = 0, scores = 0;
    for (const auto& [position, weight] : traced.received) received += weight;
    for (const auto& [position, score] : traced.scores) scores += score;
    test::check_close(received, 12.0, Tol{.abs = 1e-5});
    // The score of a key is kept until it leaves: those of the dropped ones and of the held ones.
    test::check_close(scores, 12.0, Tol{.abs = 1e-5});
  }
}

TEST_CASE("[policy] a budget for the whole toy changes nothing") {
  for (const policy::PolicyInfo& info : policy::policies()) {
    for (const int64_t budget : {12, 13, 200}) {
      CAPTURE(std::string(info.name));
      const Traced traced = trace(info.name, budget);
      CHECK(traced.run.log.front().empty());
      CHECK(traced.run.kept.front().size() == 12);
      for (const float mass : traced.run.compared.front().mass) test::check_close(mass, 1, Tol{.abs = 1e-6});
      for (const float error : traced.run.compared.front().error) CHECK(error <= 1e-6F);
    }
  }
}
