// SPDX-License-Identifier: MIT
#include "kvviz/figures/loss_scale.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace kvviz::figures {

namespace {

double error_of(const Loss& loss) {
  return std::isfinite(loss.error) ? loss.error : 0;
}

}  // namespace

Loss loss_of(const analysis::CacheOutcome& outcome) {
  return {outcome.delta_ppl_percent(), outcome.delta_ppl_percent_se()};
}

LossScale::LossScale(const std::vector<Loss>& losses) {
  constexpr double lowest = 0.01, highest = 1, ceiling = 1000;  // percent
  double least = highest, loss_most = 0, gain_most = 0, top = 0, bottom = 0;
  for (const Loss& loss : losses) {
    if (!std::isfinite(loss.percent)) continue;
    const double error = error_of(loss), size = std::max(std::abs(loss.percent), error / 3);
    if (size > 0) least = std::min(least, size);
    loss_most = std::max(loss_most, loss.percent), gain_most = std::max(gain_most, -loss.percent);
    top = std::max(top, loss.percent + error), bottom = std::min(bottom, loss.percent - error);
  }
  linear_ = gain_most > 0 && loss_most < 10 * gain_most;
  floor_ = linear_ ? bottom : std::clamp(std::pow(10.0, std::floor(std::log10(least))), lowest, highest);
  most_ = linear_ ? top : std::max(top, 10 * floor_);
  capped_ = loss_most > ceiling;
  most_ = std::min(most_, ceiling);
}

double LossScale::shown(double loss) const {
  return std::isnan(loss) ? loss : std::clamp(loss, floor_, capped_ ? most_ : std::max(loss, floor_));
}

plot::ErrorBar LossScale::bar(const Loss& loss) const {
  const double at = shown(loss.percent);
  if (!std::isfinite(at) || at < loss.percent) return {};
  const double error = error_of(loss);
  return {at - shown(loss.percent - error), shown(loss.percent + error) - at};
}

plot::Axis LossScale::axis(const std::string& label) const {
  if (linear_) {
    const double margin = 0.06 * (most_ - floor_);
    return {.label = label, .min = floor_ - margin, .max = most_ + margin};
  }
  const double decades = std::log10(most_ / floor_);
  plot::Axis axis{.label = label, .scale = plot::Scale::log10};
  axis.min = floor_ * std::pow(10.0, -0.09 * decades);
  axis.max = most_ * std::pow(10.0, 0.06 * decades);
  axis.floor = floor_;
  if (capped_) axis.ceiling = most_;
  return axis;
}

std::string LossScale::note() const {
  if (linear_) return "";
  return fmt::format(" At ≤ {:g} %: all that lose no more, or gain.{}", floor_,
                     capped_ ? " At the top: all that lose more." : "");
}

std::string bytes_label(double bytes) {
  static constexpr std::array<const char*, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < units.size(); ++unit) bytes /= 1024;
  return fmt::format("{:.{}f} {}", bytes, unit > 0 && bytes < 100 ? 1 : 0, units[unit]);
}

std::string percent_label(double percent) {
  if (std::isnan(percent)) return "no value";
  const double size = std::abs(percent);
  const int decimals = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 3;
  if (percent == 0) return "0 %";
  return size >= 1e5 ? fmt::format("{:+.1e} %", percent) : fmt::format("{:+.{}f} %", percent, decimals);
}

void set_look(plot::Series& series, size_t number) {
  static constexpr std::array<plot::Colour, 7> colours{
      {{0x0072b2}, {0xd55e00}, {0x009e73}, {0xcc79a7}, {0xe69f00}, {0x56b4e9}, {0x8c6d1f}}};
  static constexpr std::array<plot::Marker, 5> markers{plot::Marker::disc, plot::Marker::square,
                                                       plot::Marker::triangle, plot::Marker::diamond,
                                                       plot::Marker::inverted};
  const size_t round = number / colours.size();
  series.marker = markers[round % markers.size()];
  series.stroke = round % 2 == 1 ? plot::Stroke::dashed : plot::Stroke::line;
  series.colour = colours[number % colours.size()];
}

}  // namespace kvviz::figures
