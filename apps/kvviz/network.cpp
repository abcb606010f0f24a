// SPDX-License-Identifier: MIT
#include "kvviz/network.hpp"

#include <dlfcn.h>

#include "kvviz/core/error.hpp"
#include "kvviz/core/interrupt.hpp"
#include "kvviz/paths.hpp"

namespace kvviz {
namespace {

void* opened() {
  void* library = dlopen(network_file().c_str(), RTLD_NOW | RTLD_LOCAL);
  require(library != nullptr, "cannot load what talks to the hub: ", library == nullptr ? dlerror() : "");
  share_interrupts(library);
  return library;
}

void* library() {
  static void* const once = opened();
  return once;
}

template <class Function>
Function* function_named(const char* name) {
  const auto function = reinterpret_cast<Function*>(dlsym(library(), name));
  require(function != nullptr, network_file().string(), " is not of this kvviz: it lacks ", name);
  return function;
}

}  // namespace

int run_in_network(const ModelsSearchOptions& options) {
  return function_named<decltype(kvviz_models_search)>("kvviz_models_search")(options);
}
int run_in_network(const ModelsPullOptions& options) {
  return function_named<decltype(kvviz_models_pull)>("kvviz_models_pull")(options);
}

std::vector<hub::FoundModel> search_hub(const hub::SearchOptions& options) {
  std::vector<hub::FoundModel> found;
  function_named<decltype(kvviz_hub_search)>("kvviz_hub_search")(options, found);
  return found;
}

HubModel model_at_hub(const hub::ModelName& name) {
  HubModel model;
  function_named<decltype(kvviz_hub_model)>("kvviz_hub_model")(name, model);
  return model;
}

void pull_from_hub(const HubPull& what, const hub::PullProgress& progress, const std::stop_token& stop) {
  function_named<decltype(kvviz_hub_pull)>("kvviz_hub_pull")(what, progress, stop);
}

}  // namespace kvviz
