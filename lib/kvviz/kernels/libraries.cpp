// SPDX-License-Identifier: MIT
#include "kvviz/kernels/libraries.hpp"

#include <cblas.h>
#include <hwy/targets.h>

#ifdef KVVIZ_ONEDNN
#include <dnnl.hpp>
#endif

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/bf16_product.hpp"

namespace kvviz::kernels {

std::string blas_library() {
  // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...": name and version come first.
  const std::string all = openblas_get_config();
  const size_t name_end = all.find(' ');
  return cat(all.substr(0, all.find(' ', name_end + 1)), " (", openblas_get_corename(), ")");
}

std::string onednn_library() {
#ifdef KVVIZ_ONEDNN
  const dnnl::version_t* const version = dnnl::version();
  return cat(version->major, '.', version->minor, '.', version->patch,
             ", bf16 products: ", bf16_products() ? "avx512_bf16" : "none, " + bf16_products_method());
#else
  return bf16_products_method();
#endif
}

std::string simd_target() {
  const int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
  return hwy::TargetName(usable & -usable);  // better targets have lower bits
}

}  // namespace kvviz::kernels
