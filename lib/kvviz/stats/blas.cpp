// SPDX-License-Identifier: MIT
#include "kvviz/stats/blas.hpp"

#include <cblas.h>

namespace kvviz::stats {

SerialBlas::SerialBlas() : threads_(openblas_get_num_threads()) {
  openblas_set_num_threads(1);
}
SerialBlas::~SerialBlas() {
  openblas_set_num_threads(threads_);
}

}  // namespace kvviz::stats
