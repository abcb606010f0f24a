// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <hwy/highway.h>

#include <cstring>

#include "kvviz/kernels/thread_pool.hpp"
#include "unit/compress/quantise_reference.hpp"

using namespace kvviz;
using compress::Side;
using namespace kvviz::test;

namespace {

const char* const kMethods[] = {"f16",           "bf16",          "fp8",
                                "rtn_tensor:3",  "rtn_token:4",   "rtn_token:8:24",
                                "rtn_token:2:2", "rtn_channel:4", "rtn_channel:3:24",
                                "kivi:2:16:16",  "q8_0",          "q4_0",
                                "hadamard:f32",  "hadamard:q4_0", "hadamard:rtn_channel:4"};

/// Rows narrower than a vector, as wide as one or several, and with a rest; the last is wider than the
/// registers.
const std::vector<Shape> kShapes{{2, 37, 4},  {1, 21, 8},   {3, 40, 16},   {2, 33, 24},  {1, 50, 1},
                                 {1, 70, 80}, {2, 300, 64}, {2, 500, 128}, {1, 20, 256}, {1, 9, 1024}};

bool power_of_two(int64_t n) {
  return (n & (n - 1)) == 0;
}

}  // namespace

TEST_CASE("[row_kernels] every instruction set and any number of threads restore the same bits") {
  for (const Shape shape : kShapes) {
    at::Tensor x = cache_like(shape, 50);
    x.select(1, shape.tokens / 2).fill_(-0.0F);
    x.select(1, shape.tokens / 3).mul_(1e-7F);
    for (const std::string method : kMethods) {
      if (method.starts_with("hadamard") && !power_of_two(shape.channels)) continue;
      CAPTURE(method);
      CAPTURE(shape.channels);
      for (const Side side : {Side::key, Side::value}) {
        kernels::set_thread_count(1);
        const at::Tensor want = code(method, x, side).restored;
        for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
          CAPTURE(hwy::TargetName(target));
          hwy::SetSupportedTargetsForTest(target);
          hwy::GetChosenTarget().Update(hwy::SupportedTargets());
          kernels::set_thread_count(3);
          const at::Tensor got = code(method, x, side).restored;
          CHECK(std::memcmp(got.data_ptr(), want.data_ptr(), want.nbytes()) == 0);
        }
        hwy::SetSupportedTargetsForTest(0);
        hwy::GetChosenTarget().Update(hwy::SupportedTargets());
      }
    }
  }
}
