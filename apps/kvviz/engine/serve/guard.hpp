// SPDX-License-Identifier: MIT
#pragma once
#include <future>
#include <new>

#include "kvviz/core/free_memory.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/model/config.hpp"

namespace kvviz {

/// Runs work with tensors in a thread of its own, which takes with it what the kernels and OpenMP keep for
/// each thread that calls them: buffers and workers. A server answers with hundreds of threads. What libtorch
/// throws, and memory that is not there, become a DataError. About 0.1 ms.
template <class Work>
auto computed(Work&& work) {
  return std::async(std::launch::async,
                    [&] {
                      try {
                        return work();
                      } catch (const c10::Error& error) {
                        throw DataError(said_by_libtorch(error));
                      } catch (const std::bad_alloc&) {
                        throw DataError(no_memory_text());
                      }
                    })
      .get();
}

/// Throws DataError with the numbers where the model is not expected to have room for a text of so many
/// tokens, all of which a layer sees at once.
void require_room(const ModelConfig& config, int64_t tokens);

}  // namespace kvviz
