// SPDX-License-Identifier: MIT
#include "kvviz/engine/profile_input.hpp"

#include <algorithm>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/engine/model_card.hpp"
#include "kvviz/io/result_file.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/paths.hpp"
#include "kvviz/report/nearest.hpp"

namespace kvviz {
namespace {

constexpr const char* reads_name = "access/reads";
constexpr const char* mass_name = "access/attention_mass";

int64_t size_of(const std::string& text, const char* option) {
  const auto size = parse_size(text);
  require<UsageError>(size.has_value(), option, " ", text,
                      " is no size; expected a number of bytes such as 24GiB, 80GB or 1073741824");
  constexpr int64_t least_without_unit = 1 << 20;  // less is of a unit that was left out
  require<UsageError>(
      *size >= least_without_unit || text.find_first_not_of("0123456789.") != std::string::npos, option, ' ',
      text, " is ", *size, " bytes; give its unit, as in ", text, "GiB");
  return *size;
}

const analysis::CacheType& dtype_of(const std::string& name) {
  try {
    return analysis::parse_cache_type(name);
  } catch (const UsageError& error) {
    std::vector<std::string> names;
    for (const analysis::CacheType& type : analysis::cache_types()) names.emplace_back(type.name);
    const std::string meant = likely_meant(name, names);
    throw UsageError(cat("--dtype: ", error.what(), meant.empty() ? "" : cat("; did you mean ", meant, "?")));
  }
}

analysis::MemoryTier tier_of(const std::string& text, const std::string& option) {
  const size_t first = text.find(':'), second = text.find(':', first + 1);
  const bool parts = first != std::string::npos && second != std::string::npos && first > 0;
  const std::string rate = parts ? text.substr(second + 1) : "";
  const auto capacity = parts ? parse_size(text.substr(first + 1, second - first - 1)) : std::nullopt;
  const auto bandwidth =
      rate.ends_with("/s") ? parse_size(std::string_view(rate).substr(0, rate.size() - 2)) : std::nullopt;
  require<UsageError>(capacity && bandwidth, option, ' ', text,
                      " is no tier; expected NAME:CAPACITY:BANDWIDTH such as HBM:80GB:3.35TB/s");
  return {text.substr(0, first), *capacity, static_cast<double>(*bandwidth)};
}

ModelConfig config_of(const std::filesystem::path& folder) {
  try {
    return load_config(folder);
  } catch (const DataError& error) {
    throw DataError(cat(error.what(), ". Any geometry can be given by --layers, --kv-heads and --head-dim"));
  }
}

int64_t weights_of(const std::string& text, const std::optional<int64_t>& parameters, int64_t group) {
  const auto types = analysis::cache_types();
  const auto type = std::ranges::find(types, text, &analysis::CacheType::name);
  if (type == types.end()) {
    const auto size = parse_size(text);
    require<UsageError>(size.has_value(), "--weights ", text,
                        " is neither a dtype (f32, f16, bf16, f8, int8, int4, int2) nor a size such as 16GB");
    return *size;
  }
  require<UsageError>(parameters.has_value(), "--weights ", text,
                      " needs a model to count the parameters of; give their size, such as 16GB");
  return analysis::weight_bytes(*parameters, *type, group);
}

ProfileSubject model_subject(const ProfileOptions& o) {
  const auto folder = model_folder(o.model.model, o.call.data);
  const ModelConfig config = config_of(folder);
  ProfileSubject subject{.name = o.model.model,
                         .architecture = config.architecture,
                         .config_sha256 = sha256_files({config_file(folder)}),
                         .context = config.context,
                         .parameters = config.parameters()};
  subject.shape = cache_shape(config);
  return subject;
}

ProfileSubject given_subject(const ProfileOptions& o) {
  constexpr int64_t most_layers = 100000;
  require<UsageError>(o.layers <= most_layers, "--layers ", o.layers, "; expected at most ", most_layers);
  ProfileSubject subject{
      .name = cat(o.layers, " layers, ", o.kv_heads, " KV heads, ", o.head_dim, " channels"),
      .architecture = "given"};
  subject.shape.layers.assign(static_cast<size_t>(o.layers), {o.kv_heads, o.head_dim, o.window});
  return subject;
}

template <class T>
std::vector<T> take(const io::NamedArray& array, const std::filesystem::path& file, const char* type) {
  const auto* values = std::get_if<std::vector<T>>(&array.values);
  require(values != nullptr, file.string(), ": ", array.meta.name, " has another type; expected ", type);
  return *values;
}

}  // namespace

std::vector<analysis::MemoryTier> parse_tiers(const std::vector<std::string>& texts,
                                              const std::string& option) {
  std::vector<analysis::MemoryTier> tiers;
  for (const std::string& text : texts) {
    tiers.push_back(tier_of(text, option));
    const std::string& name = tiers.back().name;
    require<UsageError>(std::ranges::count(tiers, name, &analysis::MemoryTier::name) == 1, option, " names ",
                        name, " twice");
  }
  return tiers;
}

ProfileMemories read_memories(const ProfileOptions& o) {
  ProfileMemories read{.type = dtype_of(o.dtype)};
  for (const std::string& text : o.memory) {
    const bool again = std::ranges::count(read.memories, text, &analysis::MemorySize::name) > 0;
    require<UsageError>(!again, "--memory has ", text, " twice");
    read.memories.push_back({text, size_of(text, "--memory")});
  }
  read.tiers = parse_tiers(o.tiers, "--tier");
  if (o.l2 != "0") read.l2 = size_of(o.l2, "--l2");
  return read;
}

ProfileSubject read_profile_subject(const ProfileOptions& o) {
  ProfileSubject subject = o.layers > 0 ? given_subject(o) : model_subject(o);
  subject.shape.sequences = o.batch;
  subject.shape.group = o.group;
  if (!o.weights.empty()) subject.weights = weights_of(o.weights, subject.parameters, o.group);
  return subject;
}

analysis::MeasuredAccess read_access(const std::filesystem::path& file) {
  const auto names = io::list_arrays(file);
  for (const char* name : {reads_name, mass_name})
    require(std::ranges::count(names, name) == 1, file.string(), " has no array ", name,
            "; give the .h5 of a result of kvviz simulate");
  const io::NamedArray reads = io::read_array(file, reads_name), mass = io::read_array(file, mass_name);
  require(reads.shape.size() == 3 && reads.shape == mass.shape, file.string(), ": ", reads_name, " and ",
          mass_name, " have ", reads.shape.size(), " and ", mass.shape.size(),
          " dimensions or other sizes; expected both to be layers x KV heads x tokens");
  require(reads.meta.axes[1] == "kv_head", file.string(), ": ", reads_name, " counts by ", reads.meta.axes[1],
          "; blocks hold KV heads. Simulate without --per-query-head");
  return {.layers = reads.shape[0],
          .kv_heads = reads.shape[1],
          .tokens = reads.shape[2],
          .reads = take<int32_t>(reads, file, "int32"),
          .mass = take<float>(mass, file, "f32")};
}

}  // namespace kvviz
