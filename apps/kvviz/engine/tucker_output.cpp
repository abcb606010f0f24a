// SPDX-License-Identifier: MIT
#include "kvviz/engine/tucker_output.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/text_input.hpp"
#include "kvviz/io/result_file.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tables/tucker_tables.hpp"

namespace kvviz {
namespace {

using analysis::Half;
using analysis::TuckerOutcome;
using analysis::TuckerPart;
using analysis::TuckerStudy;
using analysis::TuckerTotal;
using tables::integer;
using tables::real;

constexpr const char* no_model = "a cache file has no model";
constexpr const char* no_error = "fewer than two texts, or blocks of a single text";

/// A member of the parts by mode, all its values.
std::array<std::vector<double>, 3> by_mode(const std::vector<TuckerPart>& parts,
                                           std::array<double, 3> TuckerPart::*values) {
  std::array<std::vector<double>, 3> modes;
  for (const TuckerPart& part : parts)
    for (size_t mode = 0; mode < modes.size(); ++mode) modes[mode].push_back((part.*values)[mode]);
  return modes;
}

/// Which ranks were cut, in words.
std::string clamped(const std::vector<TuckerPart>& parts) {
  std::string text;
  const auto asked = by_mode(parts, &TuckerPart::asked), used = by_mode(parts, &TuckerPart::ranks);
  for (size_t mode = 0; mode < asked.size(); ++mode) {
    size_t cut = 0;
    for (size_t i = 0; i < parts.size(); ++i) cut += used[mode][i] < asked[mode][i] ? 1 : 0;
    if (cut == 0) continue;
    const auto at = static_cast<size_t>(std::ranges::min_element(used[mode]) - used[mode].begin());
    text += cat(text.empty() ? "" : "; ", analysis::tucker_modes[mode], ' ', shortest(asked[mode][at]),
                " to ", shortest(used[mode][at]), " in ", cut, " of ", parts.size(), " tensors");
  }
  return text.empty() ? "none" : text;
}

void add_half(std::vector<Fact>& facts, const TuckerStudy& study, Half half) {
  const TuckerTotal sum = analysis::total(study.parts, half);
  const char* reason = "left out by --sides";
  const std::string key = tables::half_name(half), name = half == Half::key ? "keys" : "values";
  facts.push_back({key + "_error", real(sum.error, reason), "",
                   cat("Error of the ", name, ", all layers as one tensor")});
  facts.push_back({key + "_initial_error", real(sum.initial_error, reason), "", "  before the first sweep"});
  facts.push_back(
      {key + "_mean_error", real(sum.mean_error, reason), "", "  mean of the layers' own errors"});
  facts.push_back(
      {key + "_ratio", real(sum.ratio, reason), "", "  elements / stored (below 1: an expansion)"});
}

void add_outcome(std::vector<Fact>& facts, const TuckerOutcome& o, const std::string& prefix,
                 const std::string& name) {
  const analysis::CacheOutcome& c = o.outcome;
  facts.push_back({prefix + "delta_ppl_percent", real(c.delta_ppl_percent(), no_model), "%",
                   cat("Increase of the perplexity, ", name)});
  facts.push_back({prefix + "delta_ppl_percent_se",
                   real(c.delta_ppl_percent_se(), std::isnan(c.delta_ppl) ? no_model : no_error), "%",
                   "  its standard error"});
  facts.push_back({prefix + "kl", real(c.kl, no_model), "nats", "  KL divergence"});
  facts.push_back({prefix + "top1_agreement", real(c.top1_agreement, no_model), "",
                   "  agreement of the most likely token"});
}

/// A family at the steps of a sweep.
std::string in_words(std::string_view family) {
  if (family == "svd") return "SVD of each head";
  return family == "tucker" ? "Tucker, modes cut alike" : "Tucker, ranks of the least HOSVD error";
}

void add_smallest(std::vector<Fact>& facts, const TuckerStudy& study, int percent) {
  for (const std::string_view family : analysis::tucker_families) {
    const TuckerOutcome* best = analysis::smallest_within(study, family, percent);
    const Null none{"no step of the sweep that compresses does"};
    const std::string key = cat("smallest_", percent, "_percent_", family);
    facts.push_back(
        {key,
         best == nullptr ? Cell(none)
                         : Cell(cat(tables::basis_name(best->basis, study.has_rope), ", step ", best->step)),
         "", cat("Fewest bytes for less than ", percent, " % more perplexity, ", in_words(family))});
    facts.push_back({key + "_ratio", best == nullptr ? Cell(none) : Cell(best->outcome.ratio()), "",
                     "  how many times smaller than f16"});
  }
}

void add_tensor(io::ArrayFileWriter& file, const analysis::TuckerTensor& tensor) {
  const stats::Tucker& t = tensor.tucker;
  const std::string half = cat("tucker/", tables::half_name(tensor.half));
  const std::array<int64_t, 3> sizes{t.heads, t.tokens, t.channels},
      ranks{t.ranks.heads, t.ranks.tokens, t.ranks.channels};
  const std::string of =
      cat(tensor.half == Half::key ? "keys" : "values", " of layer ", tensor.layer, ", first cache");
  file.add({half + "_core",
            {"head_direction", "token_direction", "channel_direction"},
            "",
            cat("core of the ", of)},
           ranks, t.core);
  static constexpr std::array<const char*, 3> members{"kv_head", "token", "channel"};
  for (size_t mode = 0; mode < sizes.size(); ++mode) {
    const int64_t shape[] = {sizes[mode], ranks[mode]};
    file.add({cat(half, '_', analysis::tucker_modes[mode]),
              {members[mode], "direction"},
              "",
              cat("factor of the ", analysis::tucker_modes[mode], ", ", of)},
             shape, t.factors[mode]);
  }
}

/// Rows of different lengths are filled with NaN.
void add_curves(io::ArrayFileWriter& file, const TuckerStudy& study, Half half, size_t mode) {
  std::vector<std::vector<double>> rows;
  size_t most = 0;
  for (const TuckerPart& part : study.parts) {
    if (part.half != half) continue;
    rows.push_back(analysis::error_curve(part.energies[mode]));
    most = std::max(most, rows.back().size());
  }
  if (rows.empty()) return;
  std::vector<double> all;
  for (std::vector<double>& row : rows) {
    row.resize(most, analysis::kNone);
    all.insert(all.end(), row.begin(), row.end());
  }
  const int64_t shape[] = {std::ssize(rows), static_cast<int64_t>(most)};
  file.add({cat("tucker/", tables::half_name(half), "_error_by_", analysis::tucker_modes[mode]),
            {"layer", "rank"},
            "",
            cat("error when the ", analysis::tucker_modes[mode], " alone are cut to rank index + 1")},
           shape, all);
}

}  // namespace

nlohmann::ordered_json effective_options(const TuckerOptions& o, const TuckerStudy& study) {
  nlohmann::ordered_json effective;
  if (o.cache.empty()) {
    add_options(effective, o.texts);
    effective.update({{"prefix-tokens", o.prefix_tokens},
                      {"windows", o.windows},
                      {"sensitivity", !o.no_sensitivity},
                      {"sweep", o.sweep}});
  } else {
    effective["cache"] = o.cache.string();
  }
  const auto rank = [](const std::optional<int64_t>& r) {
    return r ? nlohmann::ordered_json(*r) : nlohmann::ordered_json(nullptr);
  };
  effective.update({{"head-rank", rank(o.head_rank)},
                    {"token-rank", rank(o.token_rank)},
                    {"channel-rank", rank(o.channel_rank)},
                    {"method", o.method},
                    {"key-basis", tables::basis_name(study.basis)},
                    {"sides", o.sides},
                    {"layer", o.layer}});
  return effective;
}

std::vector<Fact> summary_facts(const TuckerStudy& s) {
  const TuckerOutcome& tucker = s.outcomes.front();
  const analysis::CacheOutcome& outcome = tucker.outcome;
  std::vector<Fact> facts{
      {"caches", integer(s.caches), "", "Caches that are decomposed"},
      {"tokens", real(s.tokens), "tokens", "  tokens of one (mean)"},
      {"layers", integer(s.layers), "", "  layers"},
      {"sizes", tables::ranks_text(by_mode(s.parts, &TuckerPart::sizes)), "",
       "  KV heads x tokens x channels"},
      {"sides", s.sides, "", "What is decomposed"},
      {"key_basis", tables::basis_name(s.basis, s.has_rope), "", "  keys"},
      {"method", s.method, "", "  how"},
      {"ranks", tables::ranks_text(by_mode(s.parts, &TuckerPart::ranks)), "",
       "Ranks of heads x tokens x channels"},
      {"clamped", clamped(s.parts), "", "  cut to what has a use"},
      {"ratio", real(outcome.ratio()), "", "How many times smaller than f16 (below 1: an expansion)"},
      {"f16_bytes", real(outcome.f16_bytes), "bytes", "  a cache in f16"},
      {"stored_bytes", real(outcome.bytes()), "bytes", "  cores and factors in f16"}};
  if (s.texts > 0) facts.insert(facts.begin(), {"texts", integer(s.texts), "", "Texts"});
  add_half(facts, s, Half::key);
  add_half(facts, s, Half::value);
  facts.push_back({"predictions", s.has_model ? integer(outcome.predictions) : Cell(Null{no_model}), "",
                   "Predictions behind the caches"});
  facts.push_back({"full_ppl", real(s.full_ppl, no_model), "", "  their perplexity with the cache as it is"});
  facts.push_back({"full_nll", real(s.full_nll, no_model), "nats", "  their negative log-likelihood"});
  add_outcome(facts, tucker, "", "Tucker");
  for (const TuckerOutcome& o : s.outcomes) {
    if (!s.has_model || o.basis != s.basis || o.family == "tucker") continue;
    add_outcome(facts, o, o.family + "_",
                o.family == "svd" ? "SVD of each head, same bytes (one direction at least)"
                                  : "Tucker, ranks of the least HOSVD error of that size");
  }
  if (!s.sweep.empty())
    for (const int percent : {1, 10}) add_smallest(facts, s, percent);
  return facts;
}

void write_tucker_arrays(const std::filesystem::path& path, const TuckerStudy& study) {
  io::ArrayFileWriter file(path, "tucker");
  for (const analysis::TuckerTensor& tensor : study.components) add_tensor(file, tensor);
  for (const Half half : {Half::key, Half::value})
    for (size_t mode = 0; mode < analysis::tucker_modes.size(); ++mode) add_curves(file, study, half, mode);
  file.commit();
}

}  // namespace kvviz
