// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kvviz/analysis/attention.hpp"
#include "kvviz/analysis/channels.hpp"
#include "kvviz/analysis/distribution.hpp"
#include "kvviz/analysis/heads.hpp"
#include "kvviz/analysis/layers.hpp"
#include "kvviz/analysis/tokens.hpp"

namespace kvviz {

/// What every command knows about its own call; set by main.
struct CallOptions {
  std::string command_line;    ///< as typed, for provenance
  std::filesystem::path data;  ///< folder with models/ and samples/
  int threads = 0;             ///< 0: all CPUs the process may use
  bool quiet = false;
};

/// Which model, or which cache in its place.
struct ModelOptions {
  std::string model = "demo";  ///< a folder, a hub id in the local Hugging Face cache, or "demo"
};

/// Which text. At most one of prompt, prompt_file, tokens and use_wikitext; none: the first sample text.
struct TextOptions {
  std::string prompt;
  std::filesystem::path prompt_file;
  std::filesystem::path tokens;
  bool use_wikitext = false;
  std::filesystem::path wikitext_dir;
  int64_t wikitext_index = 0;
  int64_t seq_len = 0;  ///< exactly this many tokens; 0: the text as it is, cut at default_tokens for samples
  std::string bos = "auto";
  bool truncate = false;
};

struct OutputOptions {
  std::filesystem::path out = ".";
  std::string format = "png";
  double plot_scale = 1;
  bool no_plots = false;
  bool keep_plot_scripts = false;
  std::string json;  ///< "-": the result to stdout
  bool csv = false;
  std::vector<std::string> fail_if;
};

struct AnalyzeOptions {
  CallOptions call;
  ModelOptions model;
  TextOptions text;
  std::filesystem::path cache;  ///< analyse this cache file in place of a model and a text
  std::vector<std::string> focus{"all"};
  int64_t generate = 20;  ///< tokens decoded for the generation stages
  int64_t map_bins = 64;  ///< bins of the pooled attention maps
  std::string gqa_agg = "mean";
  analysis::LayersOptions layers;
  analysis::HeadsOptions heads;
  analysis::ChannelsOptions channels;
  analysis::DistributionOptions distribution;
  analysis::AttentionOptions attention;
  analysis::LegacyOptions legacy;
  OutputOptions output;
};

struct CaptureOptions {
  CallOptions call;
  ModelOptions model;
  TextOptions text;
  std::string cache_dtype = "f32";
  int gzip = 0;
  std::filesystem::path out = ".";
};

struct ListSamplesOptions {
  CallOptions call;
  ModelOptions model;
  std::filesystem::path wikitext_dir;
  std::string json;
};

}  // namespace kvviz
