// SPDX-License-Identifier: MIT
#include "kvviz/check.hpp"

#include <algorithm>

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
  add(o.use_wikitext || !o.wikitext_dir.empty() || o.wikitext_index > 0,
      "--use-wikitext (or its folder or index)");
  return names;
}

std::vector<double> values(const analysis::AttentionOptions& options) {
  std::vector<double> all;
  analysis::AttentionOptions::fields(options, [&](const auto& value, const char*, const char*) {
    all.push_back(static_cast<double>(value));
  });
  return all;
}

// Whether an option of the attention or generation analyses differs from its default.
bool changes_attention(const AnalyzeOptions& o) {
  const AnalyzeOptions defaults;
  return o.generate != defaults.generate || o.map_bins != defaults.map_bins ||
         o.gqa_agg != defaults.gqa_agg || values(o.attention) != values(defaults.attention);
}

bool has_focus(const AnalyzeOptions& o, std::initializer_list<const char*> names) {
  return std::any_of(o.focus.begin(), o.focus.end(), [&](const std::string& focus) {
    return std::find(names.begin(), names.end(), focus) != names.end();
  });
}

}  // namespace

void check(const TextOptions& o) {
  const std::string names = texts_given(o);
  require<UsageError>(names.find(" and ") == std::string::npos, "got ", names, "; give one text");
}

void check(const AnalyzeOptions& o) {
  check(o.text);
  if (o.cache.empty()) {
    require<UsageError>(
        !changes_attention(o) || has_focus(o, {"all", "attention", "tokens"}),
        "got an option of the attention or generation analyses, which --focus leaves out; add "
        "attention or tokens");
    return;
  }
  const AnalyzeOptions defaults;
  const std::string names = texts_given(o.text);
  const bool for_texts = o.text.seq_len != 0 || o.text.bos != defaults.text.bos || o.text.truncate;
  require<UsageError>(names.empty() && !for_texts && o.model.model == defaults.model.model,
                      "--cache is analysed without a model or a text; got ",
                      names.empty() ? "--model, --seq-len, --bos or --truncate" : names, " too");
  require<UsageError>(!changes_attention(o) && !has_focus(o, {"attention"}),
                      "a cache file holds keys and values, no queries and no model; got an option of the "
                      "attention or generation analyses, which need a model");
}

}  // namespace kvviz
