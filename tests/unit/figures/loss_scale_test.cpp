// SPDX-License-Identifier: MIT
#include "kvviz/figures/loss_scale.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace kvviz;
using figures::Loss;
using figures::LossScale;

namespace {

bool inside(const plot::Axis& axis, const LossScale& scale, const Loss& loss) {
  const plot::ErrorBar bar = scale.bar(loss);
  return scale.shown(loss.percent) - bar.below >= *axis.min &&
         scale.shown(loss.percent) + bar.above <= *axis.max;
}

}  // namespace

TEST_CASE("[loss scale] whiskers lie inside the axis, above a point on the floor too") {
  const std::vector<Loss> losses{{2.8, 1.2}, {0.92, 1.15}, {2.57, 2}, {-0.01, 0.7}};
  const LossScale scale(losses);
  const plot::Axis axis = scale.axis("loss");
  CHECK(axis.scale == plot::Scale::log10);
  CHECK(*axis.floor == doctest::Approx(0.1));
  for (const Loss& loss : losses) CHECK(inside(axis, scale, loss));
  CHECK(*axis.max > 4.57);
  CHECK(scale.bar(losses[3]).above == doctest::Approx(0.69 - 0.1));
  CHECK(scale.bar(losses[3]).below == 0);
}

TEST_CASE("[loss scale] the floor lies below the least change that is not noise") {
  CHECK(*LossScale({{0.02, 0}, {5, 1}}).axis("").floor == doctest::Approx(0.01));
  CHECK(*LossScale({{0.02, 0.4}, {5, 1}}).axis("").floor == doctest::Approx(0.1));
  CHECK(*LossScale({{0.9, 1.2}, {5, 1}}).axis("").floor == doctest::Approx(0.1));
  CHECK(*LossScale({{-0.3, 0.1}, {5, 1}}).axis("").floor == doctest::Approx(0.1));
  CHECK(*LossScale({{0, 0}, {5, 1}}).axis("").floor == 1);
}

TEST_CASE("[loss scale] where gains are about as large as losses it is linear and shows both") {
  const std::vector<Loss> losses{{-1.7, 1.65}, {-0.4, 0.2}, {0.3, 0.1}, {0, 0}};
  const LossScale scale(losses);
  const plot::Axis axis = scale.axis("loss");
  CHECK(axis.scale == plot::Scale::linear);
  CHECK_FALSE(axis.floor);
  CHECK(scale.note().empty());
  for (const Loss& loss : losses) {
    CHECK(scale.shown(loss.percent) == loss.percent);
    CHECK(scale.bar(loss).below == doctest::Approx(loss.error));
    CHECK(scale.bar(loss).above == doctest::Approx(loss.error));
    CHECK(inside(axis, scale, loss));
  }
}

TEST_CASE("[loss scale] a broken model stands at the ceiling without whiskers") {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const LossScale scale({{20000, 300}, {3, none}, {none, none}});
  CHECK(*scale.axis("").ceiling == 1000);
  CHECK(scale.shown(20000) == 1000);
  CHECK(scale.bar({20000, 300}).below == 0);
  CHECK(scale.bar({3, none}).above == 0);
  CHECK(scale.note().ends_with("At the top: all that lose more."));
}
