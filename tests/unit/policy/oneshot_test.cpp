// SPDX-License-Identifier: MIT
#include "kvviz/policy/oneshot.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <random>

#include "support/close.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using policy::KeepMask;
using policy::oneshot_h2o;
using policy::oneshot_streaming;
using policy::oneshot_top;
using policy::oneshot_window;
using test::message_of;

namespace {

using Matrix = std::vector<std::vector<double>>;

/// Lower triangle of weight(i, j), rows divided by their sums.
Matrix causal(int n, const std::function<double(int, int)>& weight) {
  Matrix rows;
  for (int i = 0; i < n; ++i) {
    std::vector<double> row(static_cast<size_t>(n));
    double sum = 0;
    for (int j = 0; j <= i; ++j) sum += row[static_cast<size_t>(j)] = weight(i, j);
    for (double& x : row) x /= sum;
    rows.push_back(row);
  }
  return rows;
}

Matrix uniform(int n) {
  return causal(n, [](int, int) { return 1.0; });
}
Matrix sink(int n) {
  return causal(n, [](int, int j) { return j < 4 ? 100 : .01; });
}
Matrix heavy(int n, int hitter) {
  return causal(n, [=](int, int j) { return j == hitter ? 50 : j < 4 ? 10 : .01; });
}
Matrix random_rows(int n) {
  std::mt19937_64 random(42);
  std::uniform_real_distribution<double> draw(0, 1);
  return causal(n, [&](int, int) { return draw(random); });
}
double f24(int i, int j) {
  return 1 + (7 * i + 3 * j) % 11;
}
double f24b(int i, int j) {
  return f24(i, j) * (j == 9 || j == 17 ? 8 : 1);
}

std::vector<double> column_sums(const Matrix& rows) {
  std::vector<double> sums(rows.empty() ? 0 : rows.front().size());
  for (const std::vector<double>& row : rows) {
    for (size_t j = 0; j < row.size(); ++j) sums[j] += row[j];
  }
  return sums;
}

/// "0-3 94-99" of a mask.
std::string kept(const KeepMask& mask) {
  std::string text;
  for (size_t j = 0; j < mask.size(); ++j) {
    if (!mask[j]) continue;
    size_t last = j;
    while (last + 1 < mask.size() && mask[last + 1]) ++last;
    text += (text.empty() ? "" : " ") + std::to_string(j) + (last > j ? "-" + std::to_string(last) : "");
    j = last;
  }
  return text;
}

std::string top(const std::vector<double>& sums, int64_t budget) {
  return kept(oneshot_top(sums, budget));
}
std::string h2o(const std::vector<double>& sums, int64_t budget, int64_t sinks) {
  return kept(oneshot_h2o(sums, budget, sinks));
}

int64_t count(const KeepMask& mask) {
  return std::count(mask.begin(), mask.end(), true);
}

/// No key from `begin` on that left has a higher sum than one that stayed.
bool best_stay(const std::vector<double>& sums, const KeepMask& mask, size_t begin) {
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (size_t j = begin; j < sums.size(); ++j) {
    if (mask[j]) least = std::min(least, sums[j]);
    if (!mask[j]) most = std::max(most, sums[j]);
  }
  return least >= most;
}

}  // namespace

TEST_CASE("[oneshot] window: the golden masks") {
  struct Row {
    int64_t tokens, window;
    const char* want;
  };
  for (const auto& [tokens, window, want] :
       {Row{100, 10, "90-99"}, Row{100, 25, "75-99"}, Row{43, 20, "23-42"}, Row{20, 50, "0-19"},
        Row{5, 20, "0-4"}, Row{1, 1, "0"}, Row{10, 0, ""}, Row{10, -5, ""}, Row{0, 5, ""}}) {
    CAPTURE(tokens);
    CAPTURE(window);
    const KeepMask mask = oneshot_window(tokens, window);
    CHECK(mask.size() == static_cast<size_t>(tokens));
    CHECK(kept(mask) == want);
  }
}

TEST_CASE("[oneshot] streaming: the golden masks") {
  struct Row {
    int64_t tokens, budget, sinks;
    const char* want;
  };
  for (const auto& [tokens, budget, sinks, want] :
       {Row{100, 10, 4, "0-3 94-99"}, Row{100, 5, 4, "0-3 99"}, Row{100, 20, 4, "0-3 84-99"},
        Row{100, 4, 4, "0-3"}, Row{50, 0, 4, "0-3"}, Row{50, 5, 10, "0-9"}, Row{10, 20, 4, "0-9"},
        Row{10, 10, 4, "0-9"}, Row{0, 10, 4, ""}, Row{3, 10, 4, "0-2"}, Row{3, 2, 4, "0-2"},
        Row{10, 3, 0, "7-9"}, Row{10, 0, 0, ""}, Row{10, -3, 0, ""}, Row{8, 6, 2, "0-1 4-7"},
        Row{43, 20, 4, "0-3 27-42"}}) {
    CAPTURE(tokens);
    CAPTURE(budget);
    CAPTURE(sinks);
    const KeepMask mask = oneshot_streaming(tokens, budget, sinks);
    CHECK(mask.size() == static_cast<size_t>(tokens));
    CHECK(kept(mask) == want);
  }
  CHECK(kept(oneshot_streaming(100, 10)) == "0-3 94-99");  // four sinks by default
}

TEST_CASE("[oneshot] h2o and top: uniform attention keeps the oldest") {
  const std::vector<double> sums = column_sums(uniform(6));
  test::check_close(sums, std::vector{2.45, 1.45, 0.95, 0.616667, 0.366667, 0.166667}, {.abs = 5e-7});
  CHECK(top(sums, 0) == "0-5");  // a slice from -0
  CHECK(top(sums, 1) == "0");
  CHECK(top(sums, 2) == "0-1");
  CHECK(top(sums, 3) == "0-2");
  CHECK(top(sums, 6) == "0-5");
  CHECK(top(sums, 10) == "0-5");
  CHECK(top(sums, -2) == "0-3");
  CHECK(top(sums, -6) == "");
  CHECK(top(sums, -7) == "");
  for (const int64_t budget : {0, 2, 4}) CHECK(h2o(sums, budget, 4) == "0-3");
  CHECK(h2o(sums, 5, 4) == "0-4");
  CHECK(h2o(sums, 6, 4) == "0-5");
  CHECK(h2o(sums, 10, 4) == "0-5");
  CHECK(h2o(sums, 3, 0) == "0-2");
  CHECK(h2o(sums, 0, 0) == "");
  CHECK(h2o(sums, 3, 1) == "0-2");
  CHECK(h2o(sums, 4, 10) == "0-5");
  CHECK(top({}, 3) == "");
  CHECK(h2o({}, 3, 4) == "");
}

TEST_CASE("[oneshot] the higher position wins a tie") {
  CHECK(top(std::vector<double>(8, 1.0), 5) == "3-7");
  CHECK(h2o(std::vector<double>(20, 1.0), 8, 4) == "0-3 16-19");
  CHECK(top({1, 2, 1, 2, 1}, 3) == "1 3-4");
  CHECK(top({1, 2, 1, 2, 1}, -3) == "1 3");
  CHECK(top(std::vector<double>(1000, 0.5), 1) == "999");
}

TEST_CASE("[oneshot] the formula fixtures") {
  const std::vector<double> plain = column_sums(causal(24, f24)), peaked = column_sums(causal(24, f24b));
  test::check_close(
      plain, std::vector{3.64007,  2.797611, 2.319334, 1.951524, 1.820981, 1.523412, 1.246703, 1.15441,
                         1.11302,  0.919045, 0.815404, 0.705321, 0.720771, 0.603538, 0.553468, 0.511582,
                         0.371298, 0.284395, 0.27701,  0.263896, 0.157925, 0.115933, 0.060499, 0.072848},
      {.abs = 1e-6});
  test::check_close(
      peaked, std::vector{3.357599, 2.498628, 1.946856, 1.630446, 1.516216, 1.205114, 0.937243, 0.827058,
                          0.793112, 4.43809,  0.531505, 0.500732, 0.511502, 0.379377, 0.36318,  0.350265,
                          0.219688, 1.362893, 0.176264, 0.176354, 0.100667, 0.074437, 0.04578,  0.056995},
      {.abs = 1e-6});
  CHECK(top(plain, 1) == "0");
  CHECK(top(plain, 4) == "0-3");
  CHECK(top(plain, 8) == "0-7");
  CHECK(top(plain, 12) == "0-10 12");
  CHECK(top(plain, 20) == "0-19");
  for (const int64_t sinks : {4, 1, 0}) CHECK(h2o(plain, 12, sinks) == "0-10 12");
  CHECK(h2o(plain, 3, 4) == "0-3");
  CHECK(top(peaked, 1) == "9");
  CHECK(top(peaked, 3) == "0-1 9");
  CHECK(top(peaked, 4) == "0-2 9");
  CHECK(top(peaked, 8) == "0-5 9 17");
  CHECK(top(peaked, 12) == "0-10 17");
  CHECK(h2o(peaked, 6, 4) == "0-4 9");
  CHECK(h2o(peaked, 8, 4) == "0-5 9 17");
  CHECK(h2o(peaked, 8, 0) == "0-5 9 17");
  CHECK(h2o(peaked, 12, 4) == "0-10 17");
}

TEST_CASE("[oneshot] large fixtures: a heavy key, uniform attention") {
  const std::vector<double> sums = column_sums(heavy(100, 42)), even = column_sums(uniform(100));
  test::check_close(std::vector{sums[42], sums[0], sums[4], sums[43]},
                    std::vector{31.985991, 17.934514, 0.015851, 0.006287}, {.abs = 1e-6});
  CHECK(h2o(sums, 15, 4) == "0-13 42");
  CHECK(h2o(sums, 20, 4) == "0-18 42");
  CHECK(h2o(column_sums(heavy(100, 50)), 10, 4) == "0-8 50");
  test::check_close(std::vector{even[0], even[29], even[30]}, std::vector{5.187378, 1.225724, 1.192390},
                    {.abs = 1e-6});
  CHECK(top(even, 30) == "0-29");
  CHECK(h2o(even, 30, 4) == "0-29");
}

TEST_CASE("[oneshot] the toy of the decode traces, for contrast") {
  const std::vector<double> sums{2.666478, 1.541241, 1.372612, .432065, .727790, 3.890470,
                                 .098662,  .524778,  .271083,  .197250, .149296, .128275};
  CHECK(h2o(sums, 5, 0) == "0-2 4-5");
  CHECK(h2o(sums, 5, 2) == "0-2 4-5");
}

TEST_CASE("[oneshot] the 28 tests of the earlier tool") {
  const KeepMask ten = oneshot_streaming(100, 10, 4), twenty = oneshot_streaming(100, 20, 4);
  CHECK(kept(KeepMask(ten.begin(), ten.begin() + 4)) == "0-3");                     // S1
  CHECK(kept(oneshot_streaming(100, 5, 4)).starts_with("0-3"));                     // S2
  CHECK(count(oneshot_streaming(100, 5, 4)) == 5);                                  // S2
  CHECK(count(KeepMask(twenty.end() - 16, twenty.end())) == 16);                    // S3
  CHECK(count(KeepMask(twenty.begin() + 4, twenty.begin() + 84)) == 0);             // S4
  CHECK(oneshot_h2o(column_sums(heavy(100, 42)), 15, 4)[42]);                       // S5
  CHECK(kept(oneshot_h2o(column_sums(heavy(100, 50)), 10, 4)).starts_with("0-8"));  // S6
  const std::vector<double> random = column_sums(random_rows(50));
  CHECK(best_stay(random, oneshot_h2o(random, 15, 4), 4));              // S7
  CHECK(count(oneshot_h2o(column_sums(heavy(100, 42)), 20, 4)) == 20);  // S8
  CHECK(kept(oneshot_window(100, 10)) == "90-99");                      // S9
  CHECK(count(oneshot_window(100, 25)) == 25);                          // S10
  CHECK(count(oneshot_window(20, 50)) == 20);                           // S11
  CHECK(count(oneshot_top(random, 20)) == 20);                          // S12
  CHECK(best_stay(random, oneshot_top(random, 20), 0));                 // S12
  CHECK(count(oneshot_top(column_sums(uniform(100)), 30)) == 30);       // S13
  CHECK(count(oneshot_top(column_sums(uniform(5)), 20)) == 5);          // S14
  CHECK(count(oneshot_window(5, 20)) == 5);                             // S15
  CHECK(kept(oneshot_streaming(100, 4, 4)) == "0-3");                   // S16
  CHECK(h2o(column_sums(uniform(50)), 4, 4) == "0-3");                  // S17
  CHECK(oneshot_streaming(50, 0, 4).size() == 50);                      // S18
  CHECK(kept(oneshot_streaming(50, 5, 10)) == "0-9");                   // S19
  const Matrix broken = causal(20, [](int i, int j) {
    return (i == 5 && j == 3) || (i == 10 && j == 8) ? std::numeric_limits<double>::quiet_NaN() : 1.0;
  });
  // S20 asks for no crash; a sum that is no number has no rank.
  CHECK(message_of<DataError>([&] { return oneshot_h2o(column_sums(broken), 10, 4); }) ==
        "[oneshot] the column sum of key 0 is NaN, expected a number");
  for (const Matrix& rows : {sink(50), random_rows(50)}) {
    for (size_t i = 0; i < rows.size(); ++i) {
      double sum = 0;
      for (size_t j = 0; j < rows.size(); ++j) {
        sum += rows[i][j];
        if (j > i) CHECK(rows[i][j] == 0);  // S21
      }
      test::check_close(sum, 1.0, {.abs = 1e-6});  // S22
    }
  }
  const std::vector<float> many(2 * 4 * 10 * 10, 1);
  KeepMask five(10);
  for (const size_t j : {0, 1, 4, 8, 9}) five[j] = true;
  CHECK(policy::keep_columns(many, five).size() == 2 * 4 * 10 * 5);  // S23
  std::vector<float> numbers(25);
  for (size_t i = 0; i < 25; ++i) numbers[i] = static_cast<float>(i);
  CHECK(policy::keep_columns(numbers, {true, false, true, false, true}) ==
        std::vector<float>{0, 2, 4, 5, 7, 9, 10, 12, 14, 15, 17, 19, 20, 22, 24});  // S24
  CHECK(policy::keep_columns(many, KeepMask(10, true)) == many);                    // S25
  // S26, S28: one device here, the CPU.
  CHECK(policy::keep_columns(numbers, KeepMask(5, true)) == numbers);
  KeepMask one(10);
  one[5] = true;
  CHECK(policy::keep_columns(many, one).size() == 2 * 4 * 10);  // S27
  CHECK(policy::keep_columns(numbers, KeepMask(5)).empty());
}

TEST_CASE("[oneshot] masks by name") {
  const std::vector<double> sums = column_sums(causal(24, f24b));
  CHECK(kept(policy::oneshot_mask("full", sums, 3)) == "0-23");
  CHECK(policy::oneshot_mask("window", sums, 8) == oneshot_window(24, 8));
  CHECK(policy::oneshot_mask("streaming_llm", sums, 8) == oneshot_streaming(24, 8, 4));
  CHECK(policy::oneshot_mask("streaming_llm", sums, 8, 1) == oneshot_streaming(24, 8, 1));
  CHECK(policy::oneshot_mask("h2o", sums, 8, 0) == oneshot_h2o(sums, 8, 0));
  CHECK(policy::oneshot_mask("lru", sums, 8) == oneshot_top(sums, 8));
  CHECK(message_of<UsageError>([&] { return policy::oneshot_mask("tova", sums, 8); }) ==
        "[oneshot] 'tova' has no one-shot mask; there are full, window, streaming_llm, h2o and lru");
}

TEST_CASE("[oneshot] bad input") {
  CHECK(message_of<UsageError>([] { return oneshot_window(-1, 3); }) ==
        "[oneshot] got -1 tokens, expected 0 or more");
  CHECK(message_of<UsageError>([] { return oneshot_streaming(10, 3, -2); }) ==
        "[oneshot] got -2 sinks, expected 0 or more");
  CHECK(message_of<UsageError>([] { return oneshot_h2o(std::vector{1.0}, 3, -2); }) ==
        "[oneshot] got -2 sinks, expected 0 or more");
  const std::vector<double> broken{1, 2, std::numeric_limits<double>::quiet_NaN()};
  CHECK(message_of<DataError>([&] { return oneshot_top(broken, 1); }) ==
        "[oneshot] the column sum of key 2 is NaN, expected a number");
  CHECK(message_of<UsageError>([] { return policy::keep_columns(std::vector<float>(7), KeepMask(3)); }) ==
        "[oneshot] got 7 numbers, expected rows of 3");
  CHECK(message_of<UsageError>([] { return policy::keep_columns(std::vector<float>(7), {}); }) ==
        "[oneshot] got 7 numbers, expected rows of 0");
  CHECK(policy::keep_columns({}, {}).empty());
}
