// SPDX-License-Identifier: MIT
#include "kvviz/check.hpp"

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

std::string texts_given(const TextOptions& o) {
  std::string names;
  const auto add = [&](bool given, const char* name) {
    if (given) names += (names.empty() ? "" : " and ") + std::string(name);
  };
  add(!o.prompt.empty(), "--prompt");
  add(!o.prompt_file.empty(), "--prompt-file");
  add(!o.tokens.empty(), "--tokens");
  add(o.use_wikitext || !o.wikitext_dir.empty() || o.wikitext_index > 0, "--use-wikitext (or its folder or index)");
  return names;
}

}  // namespace

void check(const TextOptions& o) {
  const std::string names = texts_given(o);
  require<UsageError>(names.find(" and ") == std::string::npos, "got ", names, "; give one text");
}

void check(const AnalyzeOptions& o) {
  check(o.text);
  if (o.cache.empty()) return;
  const std::string names = texts_given(o.text);
  require<UsageError>(names.empty() && o.text.seq_len == 0 && o.model.model == "demo", "--cache is analysed without a model or a text; got ",
                      names.empty() ? "--model or --seq-len" : names, " too");
}

}  // namespace kvviz
