// SPDX-License-Identifier: MIT
#include "kvviz/plot/ticks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "kvviz/plot/text.hpp"

namespace kvviz::plot {
namespace {

constexpr double kGap = 0.8;       // least distance of two labels along the axis, in font sizes
constexpr double kLine = 1.25;     // height of a line of text, in font sizes
constexpr double kMaxName = 20.0;  // longest name shown on an axis, in font sizes

double extent(const std::string& label, const TickSpace& space, bool rotated) {
  return space.vertical || rotated ? kLine * space.font_size
                                   : text_width(label, space.font_size) + kGap * space.font_size;
}

bool fits(const std::vector<Tick>& ticks, const Range& range, const TickSpace& space, bool rotated) {
  const double scale = space.length / (range.high - range.low);
  for (size_t i = 1; i < ticks.size(); ++i) {
    const double apart = std::abs(ticks[i].at - ticks[i - 1].at) * scale;
    if (apart < (extent(ticks[i].label, space, rotated) + extent(ticks[i - 1].label, space, rotated)) / 2)
      return false;
  }
  return true;
}

TickRow row_of(std::vector<Tick> ticks, const TickSpace& space, bool rotated) {
  TickRow row{std::move(ticks), rotated, 0};
  for (const Tick& tick : row.ticks)
    row.depth = std::max(row.depth, space.vertical || rotated ? text_width(tick.label, space.font_size)
                                                              : kLine * space.font_size);
  return row;
}

std::vector<Tick> name_ticks(const Axis& axis, const Range& range, double font_size) {
  std::vector<Tick> ticks;
  for (size_t i = 0; i < axis.names.size(); ++i) {
    const double at = static_cast<double>(i);
    if (at < range.low || at > range.high) continue;
    ticks.push_back({at, shortened(one_line(axis.names[i]), kMaxName * font_size, font_size)});
  }
  return ticks;
}

std::vector<Tick> step_ticks(const Range& range, double step) {
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  std::vector<Tick> ticks;
  const double slack = 1e-9 * (range.high - range.low);
  const auto first = static_cast<int64_t>(std::ceil((range.low - slack) / step));
  const auto last = static_cast<int64_t>(std::floor((range.high + slack) / step));
  for (int64_t i = first; i <= last; ++i) {
    const double at = static_cast<double>(i) * step;
    ticks.push_back({at, number_label(at, decimals)});
  }
  return ticks;
}

/// About one tick every 70 px; labels of a y axis stand closer.
double wanted_ticks(const TickSpace& space) {
  return std::max(4.0, space.length / (space.vertical ? 45 : 70));
}

/// The ticks of the least step, `finest` or more, whose labels fit.
template <class TicksOf>
TickRow first_fitting(double finest, const Range& range, const TickSpace& space, TicksOf&& ticks_of) {
  for (int exponent = static_cast<int>(std::floor(std::log10(finest)));; ++exponent) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double step = digit * std::pow(10.0, exponent);
      if (step < finest * (1 - 1e-9)) continue;
      std::vector<Tick> ticks = ticks_of(step);
      if (fits(ticks, range, space, false)) return row_of(std::move(ticks), space, false);
    }
  }
}

TickRow linear_ticks(const Axis& axis, const Range& range, const TickSpace& space) {
  const double finest = axis.whole ? 1 : (range.high - range.low) / wanted_ticks(space);
  return first_fitting(finest, range, space, [&](double step) { return step_ticks(range, step); });
}

/// 1, 2 and 5 times the powers of ten, or their first `digits` only.
std::vector<Tick> decade_ticks(const Range& range, size_t digits) {
  static constexpr std::array<int, 3> kDigits{1, 2, 5};
  std::vector<Tick> ticks;
  for (int e = static_cast<int>(std::floor(range.low)); e <= static_cast<int>(std::ceil(range.high)); ++e)
    for (size_t i = 0; i < digits; ++i) {
      const double at = e + std::log10(kDigits[i]);
      if (at < range.low - 1e-9 || at > range.high + 1e-9) continue;
      ticks.push_back(
          {at, digits == 1 ? power_label(e) : number_label(kDigits[i] * std::pow(10.0, e), std::max(0, -e))});
    }
  return ticks;
}

/// Less than a decade: round values at their logarithmic places.
TickRow within_decade(const Axis& axis, const Range& range, const TickSpace& space) {
  const double low = std::pow(10.0, range.low), high = std::pow(10.0, range.high);
  const double finest =
      std::max(axis.whole ? 1 : 0.0, (high - low) / std::clamp(1.5 * wanted_ticks(space), 4.0, 8.0));
  return first_fitting(finest, range, space, [&](double step) {
    std::vector<Tick> ticks = step_ticks({low, high}, step);
    std::erase_if(ticks, [](const Tick& tick) { return tick.at <= 0; });
    for (Tick& tick : ticks) tick.at = std::log10(tick.at);
    return ticks;
  });
}

TickRow log_ticks(const Axis& axis, Range range, const TickSpace& space) {
  if (axis.whole) range.low = std::max(range.low, 0.0);
  if (range.high - range.low < 1) return within_decade(axis, range, space);
  if (range.high - range.low < 4)
    if (std::vector<Tick> ticks = decade_ticks(range, 3); fits(ticks, range, space, false))
      return row_of(std::move(ticks), space, false);
  std::vector<Tick> ticks = decade_ticks(range, 1);
  for (int step = 2; !fits(ticks, range, space, false); ++step) {
    ticks = decade_ticks(range, 1);
    std::erase_if(ticks,
                  [&](const Tick& tick) { return static_cast<int>(std::lround(tick.at)) % step != 0; });
  }
  return row_of(std::move(ticks), space, false);
}

std::string superscript(int number) {
  static const char* const digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = number < 0 ? "⁻" : "";
  for (const char c : std::to_string(std::abs(number))) out += digits[c - '0'];
  return out;
}

std::string plain(double value, int decimals) {
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text == "-0" ? "0" : text;
}

}  // namespace

std::string number_label(double value, int decimals) {
  const double size = std::abs(value);
  if (size >= 1e15 || (size > 0 && decimals > 5)) {
    const int exponent = static_cast<int>(std::floor(std::log10(size) + 1e-9));
    return fmt::format("{}×10{}", plain(value / std::pow(10.0, exponent), 2), superscript(exponent));
  }
  if (size >= 1e12) return plain(value / 1e12, 3) + "T";
  if (size >= 1e9) return plain(value / 1e9, 3) + "G";
  if (size >= 1e6) return plain(value / 1e6, 3) + "M";
  if (size >= 1e4) return plain(value / 1e3, 3) + "k";
  return plain(value, decimals);
}

std::string power_label(int exponent) {
  if (exponent < -3 || exponent > 3) return "10" + superscript(exponent);
  return plain(std::pow(10.0, exponent), std::max(0, -exponent));
}

namespace {

struct Limit {
  double value = 0;
  const char* sign = "";
  double side = 1;  // 1: nothing lies above it; -1: below
};

struct Place {
  const Range& range;
  const TickSpace& space;
};

/// A tick at the limit, in place of those beyond it or too near to it.
void mark_limit(TickRow& row, const Limit& limit, const Axis& axis, const Place& place) {
  const double at = axis.scale == Scale::log10 ? std::log10(limit.value) : limit.value;
  const double near =
      1.1 * kLine * place.space.font_size * (place.range.high - place.range.low) / place.space.length;
  std::erase_if(row.ticks, [&](const Tick& tick) { return (tick.at - at) * limit.side > -near; });
  const double decade = std::round(std::log10(limit.value));
  const bool power = axis.scale == Scale::log10 && std::abs(at - decade) < 1e-9;
  const Tick tick{at, limit.sign + (power ? power_label(static_cast<int>(decade))
                                          : number_label(limit.value, limit.value < 1 ? 5 : 1))};
  row.ticks.insert(limit.side < 0 ? row.ticks.begin() : row.ticks.end(), tick);
  row = row_of(std::move(row.ticks), place.space, row.rotated);
}

}  // namespace

TickRow axis_ticks(const Axis& axis, const Range& range, const TickSpace& space) {
  if (!axis.names.empty()) {
    const std::vector<Tick> names = name_ticks(axis, range, space.font_size);
    if (fits(names, range, space, false)) return row_of(names, space, false);
    if (!space.vertical && fits(names, range, space, true)) return row_of(names, space, true);
  }
  TickRow row = axis.scale == Scale::log10 ? log_ticks(axis, range, space) : linear_ticks(axis, range, space);
  if (axis.floor) mark_limit(row, {*axis.floor, "≤ ", -1}, axis, {range, space});
  if (axis.ceiling) mark_limit(row, {*axis.ceiling, "≥ ", 1}, axis, {range, space});
  return row;
}

}  // namespace kvviz::plot
