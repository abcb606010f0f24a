// SPDX-License-Identifier: MIT
#include "kvviz/network.hpp"

#include <dlfcn.h>

#include "kvviz/core/error.hpp"
#include "kvviz/core/interrupt.hpp"
#include "kvviz/paths.hpp"

namespace kvviz {
namespace {

template <class Options>
int call(const char* function, const Options& options) {
  const std::string file = network_file().string();
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  require(library != nullptr, "cannot load what talks to the hub: ", library == nullptr ? dlerror() : "");
  share_interrupts(library);
  const auto run = reinterpret_cast<int (*)(const Options&)>(dlsym(library, function));
  require(run != nullptr, file, " is not of this kvviz: it lacks ", function);
  return run(options);
}

}  // namespace

int run_in_network(const ModelsSearchOptions& options) {
  return call("kvviz_models_search", options);
}
int run_in_network(const ModelsPullOptions& options) {
  return call("kvviz_models_pull", options);
}

}  // namespace kvviz
