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
#include "kvviz/analysis/generation.hpp"
#include "kvviz/analysis/heads.hpp"
#include "kvviz/analysis/layers.hpp"
#include "kvviz/analysis/similarity.hpp"
#include "kvviz/analysis/sinks.hpp"
#include "kvviz/analysis/synthetic_sinks.hpp"
#include "kvviz/analysis/tokens.hpp"
#include "kvviz/hub/model_name.hpp"

namespace kvviz {

/// What every command knows about its own call; set by main.
struct CallOptions {
  std::string command_line;    ///< as typed, for provenance
  std::filesystem::path data;  ///< folder with models/ and samples/
  int threads = 0;             ///< 0: all CPUs the process may use
  bool quiet = false;
  /// What the command computes, as "--samples=0-9": its options without those of output and batch.
  std::vector<std::string> arguments{};
  std::vector<std::string> typed{};              ///< options that the command line itself gives: "--seed"
  std::vector<std::string> chosen{};             ///< and those that a configuration sets to another value
  std::vector<std::filesystem::path> records{};  ///< kvviz merge: take these in place of a model and texts
};

/// Which model, or which cache in its place.
struct ModelOptions {
  std::string model = "demo";  ///< a folder, a GGUF file, a hub id in the local Hugging Face cache, or "demo"
  std::string dtype = "auto";  ///< that its matrices are kept in: f32, bf16, f16; auto: f32
  std::string device = "auto";  ///< that multiplies by them: cpu, cuda, mps; auto: cuda, else mps, else cpu
  bool force = false;           ///< load it although the estimate says that memory will not do
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
  int64_t room = 0;  ///< positions that an article leaves free where seq_len does not say; set by the command
};

/// How a run over many texts is worked off. None of it changes the result.
struct BatchOptions {
  bool resume = false;
  bool strict = false;  ///< stop at the first text that fails
  std::string shard;    ///< "3/8", auto; empty: all texts
  int workers = 0;      ///< texts worked on at once, each by one thread; 0: chosen
  bool operator==(const BatchOptions&) const = default;
};

/// Which texts, of a command that takes many. `text` names one, as for other commands, unless prompts,
/// samples or a probe do; with none of them: every sample text.
struct TextsOptions {
  TextOptions text;
  bool one_text = false;  ///< of a command that takes the first sample text where nothing is given; not all
  std::filesystem::path prompts;  ///< one a line, or JSONL with "text"; a folder of .txt files
  std::string samples;            ///< "A-B" or "A": articles, as list_samples numbers them
  std::string probe = "natural";  ///< Gu et al., ICLR 2025: natural text, random tokens, one token repeated
  int64_t probe_count = 100;      ///< sequences of a probe
  int64_t probe_tokens = 64;      ///< tokens of a sequence, where --seq-len does not say
  uint64_t seed = 1;
  BatchOptions batch;
};

struct OutputOptions {
  std::filesystem::path out = ".";
  std::string format = "png";
  double plot_scale = 1;
  double text_scale = 1;
  bool no_plots = false;
  bool keep_plot_scripts = false;
  std::string json;  ///< "-": the result to stdout
  bool csv = false;
  std::vector<std::string> fail_if;
  std::filesystem::path junit;       ///< the checks as JUnit XML; empty: none
  std::string annotations = "auto";  ///< github, none; auto: github where GITHUB_ACTIONS is true
  std::string command;               ///< that writes all this; set by bind
};

struct AnalyzeOptions {
  CallOptions call;
  ModelOptions model;
  TextsOptions texts;
  std::filesystem::path cache;  ///< analyse this cache file in place of a model and a text
  bool needs_queries = false;   ///< an option asks for attention: the file holds queries; set by the command
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

/// Settings of eviction policies; policy/policy.hpp says what each means.
struct EvictionOptions {
  std::optional<int64_t> sinks, recent;
  bool per_query_head = false;
  int64_t observation = 32, kernel = 5;
  std::string pool = "average";
  int64_t beta = 20;
  double floor = 0.2;
  int64_t lag = 128, future = 512;
  double epsilon = 0;
  int64_t refresh = 64;
  bool operator==(const EvictionOptions&) const = default;
};

struct CompressOptions {
  CallOptions call;
  ModelOptions model;
  TextsOptions texts;
  std::filesystem::path cache;       ///< code this cache file: errors and bytes, no loss
  std::vector<std::string> methods;  ///< "streaming_llm:0.25 + kivi:4"; empty: the sweep of all
  bool sweep = false;                ///< methods are names whose arguments are swept
  std::string sides = "both";        ///< both, keys, values
  std::string key_basis = "post_rope";
  int64_t prefix_tokens = 0;        ///< whose cache is coded; 0: half of each text
  int64_t windows = 1;              ///< pieces of the rest, each behind a cache coded anew
  bool streaming = false;           ///< every token is coded as it is written
  std::optional<double> recommend;  ///< a method for each layer, for at most so many % more perplexity
  int64_t kivi_table = 0;           ///< bits of KIVI's table of errors; 0: none
  std::string gqa_agg = "mean";
  EvictionOptions eviction;
  bool no_timings = false;
  OutputOptions output;
};

/// Indices are texts: "3", "0-5".
struct PruneOptions {
  CallOptions call;
  ModelOptions model;
  TextsOptions texts;
  std::string continuation;  ///< the text that is read behind; empty: the rest of each text
  std::vector<std::string> layers, heads, query_heads, tokens, channels;
  std::string sides = "both";       ///< whose channels and small elements: both, keys, values
  std::optional<double> threshold;  ///< percent of the largest magnitude
  std::string prune_method;         ///< legacy: layer, head, dimension, threshold
  std::string sweep;                ///< layers, heads, channels; empty: what the lists above name
  int64_t channel_block = 0;        ///< of a sweep of channels; 0: a sixteenth of the head
  int64_t prefix_tokens = 0;        ///< whose cache is pruned; 0: half of each text
  int64_t windows = 1;
  int64_t decode_steps = 64;  ///< tokens that are timed
  bool no_timings = false;
  OutputOptions output;
};

/// Sizes are texts such as 24GiB or 80GB (core/byte_size.hpp).
struct ProfileOptions {
  CallOptions call;
  ModelOptions model;
  int64_t layers = 0, kv_heads = 0, head_dim = 0;  ///< a geometry in place of a model; 0: the model's
  int64_t window = 0;                              ///< of that geometry's layers
  std::string dtype = "f16";
  int64_t group = 64;
  int64_t batch = 1;
  std::optional<int64_t> tokens;  ///< none: those of the measurement, the model's context, or 4096
  std::vector<int64_t> lengths{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072};
  std::vector<std::string> memory{"8GiB", "16GiB", "24GiB", "48GiB", "80GiB"};
  std::string weights;  ///< a dtype of the model's weights, or a size; empty: not counted
  int64_t block = 16;
  int64_t first_tokens = 4;
  /// NAME:CAPACITY:BANDWIDTH. By data sheet: H100 SXM (80 GB HBM3, 3.35 TB/s); host memory over PCIe 5.0 x16
  /// (32 GT/s x 16 lanes x 128/130 / 8); an NVMe disk on PCIe 4.0 x4 (about 7 GB/s).
  std::vector<std::string> tiers{"HBM:80GB:3.35TB/s", "RAM:256GiB:63GB/s", "disk:2TB:7GB/s"};
  std::string l2 = "50MB";  ///< of an H100
  std::filesystem::path access;
  OutputOptions output;
};

struct NeedleOptions {
  std::string needle, question, answer, place = "hide";
  std::vector<double> depths{0, 0.25, 0.5, 0.75, 1};
  std::vector<int64_t> lengths{};  ///< tokens; empty: half and all of the longest text
};

struct SimulateOptions {
  CallOptions call;
  ModelOptions model;
  TextsOptions texts;
  std::vector<std::string> policies{"all"};
  std::vector<std::string> budgets{"0.1", "0.25", "0.5"};  ///< tokens, or kept fractions
  std::filesystem::path budget_table;  ///< TSV of layer, kv_head, budget in place of budgets
  std::string mode = "decode";         ///< decode: evict step by step; oneshot: sinkvis's masks
  std::string positions = "original";
  std::string prefill = "stepwise";
  int64_t prompt_tokens = 0;  ///< of a full prefill; 0: half of each text
  std::string gqa_agg = "mean";
  std::optional<int64_t> score_from;  ///< first prediction that counts; none: where every budget has evicted
  bool no_recall = false;
  std::string target;    ///< "delta_ppl<1%"
  int64_t generate = 0;  ///< tokens after the first text
  bool eviction_log = false;
  bool no_timings = false;
  EvictionOptions eviction;
  NeedleOptions needle;
  OutputOptions output;
};

struct GenerationOptions {
  CallOptions call;
  ModelOptions model;
  TextsOptions texts;     ///< its seed is that of drawn tokens too
  int64_t generate = 64;  ///< tokens
  analysis::StageOptions stages;
  double temperature = 0;
  int64_t top_k = 0;
  double top_p = 1;
  bool ignore_eos = false;
  bool no_timings = false;
  std::vector<std::string> policies{};  ///< the same text under these; empty: the full cache alone
  std::vector<std::string> budgets{};   ///< of the policies; empty: 0.25
  std::string positions = "original";
  std::string prefill = "stepwise";
  EvictionOptions eviction;
  analysis::LegacyOptions legacy;
  OutputOptions output;
};

struct TuckerOptions {
  CallOptions call;
  ModelOptions model;
  TextsOptions texts;
  std::filesystem::path cache;  ///< decompose this cache file in place of a model and texts
  std::optional<int64_t> head_rank, token_rank, channel_rank;
  std::string method = "hooi";
  std::optional<std::string> key_basis;  ///< none: post_rope; of a cache file, as it holds them
  std::string sides = "both";            ///< both, keys, values
  int64_t layer = 0;                     ///< whose core and factors are kept
  int64_t prefix_tokens = 0;             ///< whose cache is decomposed; 0: half of each text
  int64_t windows = 1;                   ///< pieces of the rest, each behind a cache decomposed anew
  bool no_sensitivity = false;
  bool sweep = false;
  OutputOptions output;
};

struct SimilarityOptions {
  CallOptions call;
  ModelOptions model;
  TextsOptions texts;
  std::filesystem::path cache;  ///< this cache file in place of a model and a text
  std::string key_basis;        ///< post_rope, pre_rope; empty: as the cache holds them
  int64_t map_bins = 32;        ///< of the attention maps that query heads are compared by
  analysis::SimilarityOptions similarity;
  OutputOptions output;
};

struct CompareOptions {
  CallOptions call;
  std::vector<std::filesystem::path> results;  ///< two result files
  std::vector<std::string> tolerances;         ///< [PATTERN=]BOUND; none: nothing is checked
  OutputOptions output;
};

struct CaptureOptions {
  CallOptions call;
  ModelOptions model;
  TextOptions text;
  std::string cache_dtype = "f32";
  bool queries = false;  ///< store queries and losses too: attention can be computed from the file
  int gzip = 0;
  std::filesystem::path out = ".";
};

struct ModelsSearchOptions {
  CallOptions call;
  std::string query;
  int64_t limit = 20;
  std::string sort = "downloads";
  std::string filter = "text-generation";  ///< a tag; "any": none
  std::string json;
};

struct ModelsPullOptions {
  CallOptions call;
  hub::ModelName name;
  bool no_weights = false;
  int connections = 4;
  bool verify = false;
  bool dry_run = false;
  bool offline = false;
  std::string json;
};

struct ModelsInfoOptions {
  CallOptions call;
  std::string model = "demo";
  int64_t tokens = 2048;
  std::string dtype = "f16";
  std::vector<int64_t> lengths = {2048, 8192, 32768, 131072};
  std::vector<std::string> memory = {"8GiB", "16GiB", "24GiB", "48GiB", "80GiB"};
  std::string json;
};

struct ModelsListOptions {
  std::string json;
};

struct ModelsRmOptions {
  std::string id;
  bool yes = false;
  std::string json;
};

/// The local web page.
struct ServeOptions {
  CallOptions call;
  ModelOptions model;              ///< loaded once the server answers; "none": none
  std::string host = "127.0.0.1";  ///< address to listen at
  int port = 8765;                 ///< 0: one that is free
  std::string token;               ///< that requests have to bring; empty: none
  std::vector<std::string> names;  ///< further names that a Host header may give
  int streams = 64;                ///< live streams at once
};

/// One library that the engine uses.
struct LibraryFact {
  const char* name;
  std::string value;
};

struct BuildFactsOptions {
  CallOptions call;
  std::vector<LibraryFact>* facts;  ///< where the engine puts them
};

struct ListSamplesOptions {
  CallOptions call;
  ModelOptions model;
  std::filesystem::path wikitext_dir;
  std::string json;
};

}  // namespace kvviz
