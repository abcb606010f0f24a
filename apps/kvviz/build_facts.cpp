// SPDX-License-Identifier: MIT
#include "kvviz/build_facts.hpp"

#include <CLI/Version.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/core/version.hpp"
#include "kvviz/engine.hpp"
#include "kvviz/paths.hpp"

namespace kvviz {
namespace {

std::string fact(const char* name, const std::string& value) {
  const std::string label = cat(name, ':');
  return label + std::string(14 - label.size(), ' ') + value + '\n';
}

template <class Find>
std::string or_reason(Find find) {
  try {
    return find();
  } catch (const DataError& error) {
    return error.what();
  }
}

}  // namespace

std::string build_facts(const CallOptions& call) {
  std::string text = cat("kvviz ", version, " (", commit, ")\n");
  text += fact("compiler", compiler);
  text += fact("build", build_type);
  text += fact("CLI11", CLI11_VERSION);
  text += fact("data", or_reason([] { return data_folder().string(); }));
  text += fact("engine", or_reason([] { return engine_file().string(); }));
  std::vector<LibraryFact> libraries;
  const std::string failure = or_reason([&] {
    run_in_engine({.call = call, .facts = &libraries});
    return std::string();
  });
  for (const LibraryFact& library : libraries) text += fact(library.name, library.value);
  if (!failure.empty()) text += fact("not loaded", failure);
  return text.substr(0, text.size() - 1);
}

}  // namespace kvviz
