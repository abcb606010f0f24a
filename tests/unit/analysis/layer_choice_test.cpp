// SPDX-License-Identifier: MIT
#include "kvviz/analysis/layer_choice.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>

using namespace kvviz::analysis;

namespace {

struct Sum {
  double bytes = 0, loss = 0;
};

Sum sum_of(const std::vector<LayerOptions>& layers, const std::vector<size_t>& choice) {
  Sum sum;
  for (size_t l = 0; l < layers.size(); ++l) {
    sum.bytes += layers[l].bytes[choice[l]];
    sum.loss += layers[l].losses[choice[l]];
  }
  return sum;
}

/// Every choice there is.
std::vector<std::vector<size_t>> all_choices(const std::vector<LayerOptions>& layers) {
  std::vector<std::vector<size_t>> all{{}};
  for (const LayerOptions& layer : layers) {
    std::vector<std::vector<size_t>> longer;
    for (const auto& choice : all) {
      for (size_t m = 0; m < layer.bytes.size(); ++m) {
        longer.push_back(choice);
        longer.back().push_back(m);
      }
    }
    all = std::move(longer);
  }
  return all;
}

}  // namespace

TEST_CASE("[layer_choice] by hand: the cheapest loss a byte comes first") {
  // Layer 0 saves 50 bytes for 1 (0.02 a byte), layer 1 50 bytes for 0.1 (0.002).
  const std::vector<LayerOptions> layers{{{100, 50}, {0, 1}}, {{100, 50}, {0, 0.1}}};
  const auto choices = layer_choices(layers);
  REQUIRE(choices.size() == 3);
  CHECK(choices[0] == std::vector<size_t>{0, 0});
  CHECK(choices[1] == std::vector<size_t>{0, 1});
  CHECK(choices[2] == std::vector<size_t>{1, 1});
}

TEST_CASE("[layer_choice] no choice at all lies below: for every price of a byte one of them is best") {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<LayerOptions> layers(3);
    for (LayerOptions& layer : layers) {
      for (int m = 0; m < 4; ++m) {
        layer.bytes.push_back(uniform(random));
        layer.losses.push_back(uniform(random) - 0.2);
      }
    }
    const auto choices = layer_choices(layers);
    for (size_t i = 1; i < choices.size(); ++i) {
      CHECK(sum_of(layers, choices[i]).bytes < sum_of(layers, choices[i - 1]).bytes);
      CHECK(sum_of(layers, choices[i]).loss >= sum_of(layers, choices[i - 1]).loss);
    }
    for (const double price : {1e-6, 0.1, 0.5, 1.0, 2.0, 10.0, 1e6}) {
      const auto cost = [&](const std::vector<size_t>& choice) {
        const Sum sum = sum_of(layers, choice);
        return sum.loss + price * sum.bytes;
      };
      double best = std::numeric_limits<double>::infinity(), ours = best;
      for (const auto& choice : all_choices(layers)) best = std::min(best, cost(choice));
      for (const auto& choice : choices) ours = std::min(ours, cost(choice));
      CHECK(ours == doctest::Approx(best));
    }
  }
}

TEST_CASE("[layer_choice] numbers that are none are never chosen") {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const auto choices = layer_choices(std::vector<LayerOptions>{{{10, 5, 1}, {0, none, 2}}});
  REQUIRE(choices.size() == 2);
  CHECK(choices[1] == std::vector<size_t>{2});
  CHECK(layer_choices(std::vector<LayerOptions>{{{10}, {none}}}).empty());
}
