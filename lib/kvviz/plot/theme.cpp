// SPDX-License-Identifier: MIT
#include "kvviz/plot/theme.hpp"

#include <algorithm>
#include <cmath>

namespace kvviz::plot {

const std::vector<Colour>& stops(ColourMap map) {
  static const std::vector<Colour> viridis{{0x440154}, {0x48186a}, {0x472d7b}, {0x424086}, {0x3b528b},
                                           {0x33638d}, {0x2c728e}, {0x26828e}, {0x21918c}, {0x1fa088},
                                           {0x28ae80}, {0x3fbc73}, {0x5ec962}, {0x84d44b}, {0xaddc30},
                                           {0xd8e219}, {0xfde725}};
  static const std::vector<Colour> blue_white_red{{0x053061}, {0x2166ac}, {0x4393c3}, {0x92c5de},
                                                  {0xd1e5f0}, {0xf7f7f7}, {0xfddbc7}, {0xf4a582},
                                                  {0xd6604d}, {0xb2182b}, {0x67001f}};
  return map == ColourMap::diverging ? blue_white_red : viridis;
}

Colour colour_at(ColourMap map, double t) {
  const std::vector<Colour>& table = stops(map);
  const double place = std::clamp(t, 0.0, 1.0) * static_cast<double>(table.size() - 1);
  const size_t below = std::min(static_cast<size_t>(place), table.size() - 2);
  const double weight = place - static_cast<double>(below);
  uint32_t mixed = 0;
  for (const int shift : {16, 8, 0}) {
    const double low = (table[below].rgb >> shift) & 0xff, high = (table[below + 1].rgb >> shift) & 0xff;
    mixed |= static_cast<uint32_t>(std::lround(low + weight * (high - low))) << shift;
  }
  return {mixed};
}

double luminance(Colour colour) {
  const auto linear = [&](int shift) {
    const double part = ((colour.rgb >> shift) & 0xff) / 255.0;
    return part <= 0.04045 ? part / 12.92 : std::pow((part + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * linear(16) + 0.7152 * linear(8) + 0.0722 * linear(0);
}

Colour readable_on(Colour background) {
  constexpr double flare = 0.05;  // WCAG: the contrast of two colours is (lighter + flare) / (darker + flare)
  const double light = luminance(background) + flare;
  return light / flare > (1 + flare) / light ? Colour{0x000000} : Colour{0xffffff};
}

}  // namespace kvviz::plot
