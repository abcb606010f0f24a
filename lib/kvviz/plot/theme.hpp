// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace kvviz::plot {

struct Colour {
  uint32_t rgb = 0;  ///< 0xRRGGBB
  bool operator==(const Colour&) const = default;
};

/// Colours with one meaning in every figure.
namespace colours {
inline constexpr Colour key{0x0072b2};           ///< keys
inline constexpr Colour value{0xd55e00};         ///< values
inline constexpr Colour sink{0xff3366};          ///< attention sinks
inline constexpr Colour heavy_hitter{0x00ccff};  ///< heavy hitters
inline constexpr Colour neutral{0x777777};  ///< baselines, chance levels, everything that is only context
inline constexpr Colour text{0x222222};
inline constexpr Colour grid{0xe3e3e3};
inline constexpr Colour nothing{0xb8b8b8};  ///< cells without a value
inline constexpr Colour missing{0x555555};  ///< points without a value
}  // namespace colours

enum class ColourMap {
  sequential,  ///< viridis: low to high
  diverging    ///< blue - white - red, white at 0: the limits are made symmetric
};

/// How figures look. Lengths are in design pixels.
struct Theme {
  std::string font = "DejaVu Sans";
  double scale = 1.4;  ///< of a design pixel: pixels of a PNG at scale 1
  double title_size = 20, panel_title_size = 16, label_size = 15, tick_size = 13.5, note_size = 13;
  double line_width = 1.8;
  int max_cells = 1024;  ///< a heat map with more rows or columns is pooled down to at most this many
  double annotation_min_width = 24, annotation_min_height = 14;  ///< least cell for a number in it
  /// Series without a colour of their own take these in order (Okabe & Ito, safe for colour-blind readers).
  std::vector<Colour> categorical{{0x0072b2}, {0xd55e00}, {0x009e73}, {0xcc79a7},
                                  {0xe69f00}, {0x56b4e9}, {0x8c6d1f}, {0x000000}};
};

/// Equidistant stops of a colour map, low to high.
const std::vector<Colour>& stops(ColourMap map);

/// The colour at `t` in [0, 1] (clamped).
Colour colour_at(ColourMap map, double t);

/// Relative luminance of an sRGB colour, 0 (black) to 1 (white), as WCAG 2 has it.
double luminance(Colour colour);

/// Black or white, whichever has the larger contrast (WCAG 2) on `background`.
Colour readable_on(Colour background);

}  // namespace kvviz::plot
