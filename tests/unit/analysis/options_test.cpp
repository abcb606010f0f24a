// SPDX-License-Identifier: MIT
#include <cmath>

#include "kvviz/analysis/attention.hpp"
#include "kvviz/analysis/channels.hpp"
#include "kvviz/analysis/distribution.hpp"
#include "kvviz/analysis/layers.hpp"
#include "kvviz/analysis/tokens.hpp"
#include "kvviz/core/error.hpp"

#include <doctest/doctest.h>  // after libtorch, whose logging has a CHECK of its own

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

template <class Options, class Value>
void check_refused(Value Options::*member, std::initializer_list<Value> bad) {
  for (const Value& value : bad) {
    Options options;
    options.*member = value;
    CHECK_THROWS_AS(validate(options), UsageError);
  }
}

}  // namespace

TEST_CASE("[options] defaults are valid, values out of range are refused") {
  validate(HeadsOptions{});
  validate(LayersOptions{});
  validate(TokensOptions{});
  validate(ChannelsOptions{});
  validate(DistributionOptions{});
  validate(AttentionOptions{});
  check_refused(&LegacyOptions::percent, {0.0, -1.0, 101.0, double{NAN}});
  check_refused(&LegacyOptions::threshold, {-0.1, double{INFINITY}, double{NAN}});
  check_refused(&HeadsOptions::small_eps, {0.0, -1.0, double{NAN}, double{INFINITY}});
  check_refused(&HeadsOptions::prunable, {-0.1, 1.1, double{NAN}});
  check_refused(&HeadsOptions::legacy, {LegacyOptions{.percent = 0}});
  check_refused(&LayersOptions::small_eps, {0.0, double{NAN}});
  check_refused(&LayersOptions::prunable, {-0.1, 1.1});
  check_refused(&TokensOptions::legacy, {LegacyOptions{.threshold = -1}});
  check_refused(&ChannelsOptions::outlier_ratio, {1.0, 0.0, double{NAN}});
  check_refused<ChannelsOptions, int64_t>(&ChannelsOptions::skip_first, {-1});
  check_refused<ChannelsOptions, int64_t>(&ChannelsOptions::patterns, {-1});
  check_refused(&ChannelsOptions::prunable, {-0.1, 1.1});
  check_refused<DistributionOptions, int64_t>(&DistributionOptions::bins_per_decade, {0, 21});
  check_refused<DistributionOptions, int64_t>(&DistributionOptions::legacy_bins, {0, 100'001});
  check_refused(&AttentionOptions::sink_eps, {-0.1, 1.1, double{NAN}});
  check_refused<AttentionOptions, int64_t>(&AttentionOptions::sink_tokens, {0});
  check_refused<AttentionOptions, int64_t>(&AttentionOptions::first_keys, {0});
  check_refused(&AttentionOptions::sink_share, {-0.1, 1.1});
  check_refused(&AttentionOptions::local_distance, {-0.1, double{INFINITY}});
  check_refused(&AttentionOptions::global_entropy, {-0.1, 1.1});
  check_refused<AttentionOptions, int64_t>(&AttentionOptions::top_keys, {-1});
}
