// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvviz/compress/codec.hpp"
#include "kvviz/eval/simulate.hpp"

namespace kvviz {

/// What happens to the cache of one layer: an eviction policy cuts it after the prefix, a codec codes what is
/// left, or both in this order.
struct CacheSteps {
  std::optional<Simulation> eviction;
  compress::Method codec;  ///< f16 when an eviction stands alone
};

/// A method of `kvviz compress`. In the grammar of the command line:
///   plan  = steps { "|" steps }             one for all layers, or one a layer
///   steps = step { "+" step }               an eviction first, then a codec
///   step  = POLICY ":" BUDGET | METHOD [":" ARGUMENTS]
struct CachePlan {
  std::string text;    ///< as it was written, with one space about each sign: "streaming_llm:0.25 + kivi:4"
  std::string family;  ///< without its numbers: "streaming_llm + kivi"
  std::string summary;
  std::vector<CacheSteps> layers;  ///< one for all, or one a layer

  const CacheSteps& of_layer(size_t layer) const { return layers.size() == 1 ? layers[0] : layers[layer]; }
};

/// Throws UsageError, saying what was got and what there is: an unknown name, arguments that it does not
/// take, two codecs or two policies in one step, a codec before a policy, a codec that shares tokens between
/// layers behind a policy or in a plan of several layers, a policy that frees no memory or knows the future.
CachePlan parse_plan(std::string_view text);

/// What a sweep tries: the codecs' own lists, and policies and pairs of both.
std::vector<std::string> swept_plans();

/// The same for one name of a codec or policy. Throws UsageError for anything else.
std::vector<std::string> swept_plans_of(std::string_view name);

}  // namespace kvviz
