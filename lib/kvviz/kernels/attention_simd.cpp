// SPDX-License-Identifier: MIT
#include "kvviz/kernels/attention_simd.hpp"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvviz/kernels/attention_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvviz/kernels/products-inl.hpp"
#include "kvviz/kernels/softmax-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::kernels {
namespace HWY_NAMESPACE {

const AttentionSimd& table() {
  static const AttentionSimd kernels{.panel = panel_width(),
                                     .row_group = group_rows,
                                     .pack_keys = &pack_keys,
                                     .scores = &scores,
                                     .add_distances = &add_distances,
                                     .softcap = &softcap,
                                     .softmax = &softmax,
                                     .weighted_values = &weighted_values,
                                     .column_sums = &column_sums};
  return kernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace kvviz::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvviz::kernels {

HWY_EXPORT(table);
const AttentionSimd& attention_simd() {
  return HWY_DYNAMIC_DISPATCH(table)();
}

}  // namespace kvviz::kernels
#endif
