// SPDX-License-Identifier: MIT
#include <ATen/Context.h>
#include <H5public.h>
#include <torch/version.h>

#include <thread>

#include "kvviz/engine/entry.hpp"
#include "kvviz/kernels/libraries.hpp"

namespace kvviz {
namespace {

std::string torch_version() {
  return cat(TORCH_VERSION, at::hasCUDA() ? ", with CUDA" : ", without CUDA");
}

std::string hdf5_version() {
  unsigned int major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return cat(major, '.', minor, '.', release);
}

int build_facts(const BuildFactsOptions& options) {
  *options.facts = {{"libtorch", torch_version()},
                    {"BLAS", kernels::blas_library()},
                    {"oneDNN", kernels::onednn_library()},
                    {"SIMD", kernels::simd_target()},
                    {"HDF5", hdf5_version()},
                    {"CPUs", cat(std::thread::hardware_concurrency())}};
  return 0;
}

}  // namespace
}  // namespace kvviz

int kvviz_build_facts(const kvviz::BuildFactsOptions& options) {
  return kvviz::guarded([&] { return kvviz::build_facts(options); });
}
