// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/analysis/attention.hpp"
#include "kvviz/analysis/channels.hpp"
#include "kvviz/analysis/distribution.hpp"
#include "kvviz/analysis/heads.hpp"
#include "kvviz/analysis/layers.hpp"
#include "kvviz/analysis/sinks.hpp"
#include "kvviz/analysis/synthetic_sinks.hpp"
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

/// Which texts, of a command that takes many. `text` names one, as for other commands, unless prompts,
/// samples or a probe do; with none of them: every sample text.
struct TextsOptions {
  TextOptions text;
  std::filesystem::path prompts;  ///< one a line, or JSONL with "text"
  std::string samples;            ///< "A-B" or "A": articles, as list_samples numbers them
  std::string probe = "natural";  ///< Gu et al., ICLR 2025: natural text, random tokens, one token repeated
  int64_t probe_count = 100;      ///< sequences of a probe
  int64_t probe_tokens = 64;      ///< tokens of a sequence, where --seq-len does not say
  uint64_t seed = 1;
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

struct ReuseOptions {
  bool evaluate = false;
  std::string heads = "profile";  ///< profile: sinks of the rule over the texts; first-layer: head indices
                                  ///< that are sinks in layer 0
  std::vector<int> layers{};      ///< first and last layer whose heads are replaced; empty: all
  int64_t up_to = 4096;           ///< longest text, tokens
  int repeats = 3;                ///< runs that the median time is taken of
};

struct SinksOptions {
  CallOptions call;
  ModelOptions model;
  TextsOptions texts;
  std::string metric = "alpha";
  std::optional<double> threshold;  ///< of the metric; its own default else
  analysis::SinkOptions sinks;
  std::vector<int64_t> lengths{};  ///< of the curve rate against length; empty: powers of two
  int64_t map_bins = 64;
  bool all_maps = false;
  std::string synthetic;  ///< name of the random model
  std::filesystem::path synthetic_fit;
  analysis::SyntheticOptions random;
  ReuseOptions reuse;
  OutputOptions output;
};

struct CompareOptions {
  CallOptions call;
  std::vector<std::filesystem::path> results;  ///< two result files, or output folders that hold one
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
