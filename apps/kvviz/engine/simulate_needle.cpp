// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_needle.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/eval/compare.hpp"

namespace kvviz {
namespace {

using Ids = std::vector<int32_t>;

/// As it would be tokenised within a text: behind a space, which some tokenizers put there themselves.
Ids piece_of(const Tokenizer& tokenizer, const std::string& text) {
  const Ids probe = tokenizer.encode("x");
  const bool own_space = !probe.empty() && tokenizer.piece(probe.front()).starts_with(' ');
  const bool spaced = own_space || text.starts_with(' ') || text.starts_with('\n');
  return tokenizer.encode(spaced ? text : ' ' + text);
}

std::string last_word(const std::string& text) {
  const size_t end = text.find_last_not_of(" \t\n.!?\"'");
  require<UsageError>(end != std::string::npos, "--needle '", text, "' has no word; give the --answer");
  const size_t begin = text.find_last_of(" \t\n", end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? -1 : begin));
}

struct Needle {
  Ids needle, question, answer;
};

NeedleText hide(const TextInput& text, const Needle& parts, double depth, int64_t length, bool with_needle) {
  const int64_t bos = text.bos ? 1 : 0;
  const auto needle = with_needle ? std::ssize(parts.needle) : 0;
  const int64_t hay = length - bos - needle - std::ssize(parts.question);
  const auto begin = text.tokens.ids.begin();
  const int64_t before = bos + std::llround(depth * static_cast<double>(hay));
  NeedleText hidden{.ids = Ids(begin, begin + before)};
  hidden.needle_begin = before;
  if (with_needle) hidden.ids.insert(hidden.ids.end(), parts.needle.begin(), parts.needle.end());
  hidden.needle_end = std::ssize(hidden.ids);
  hidden.ids.insert(hidden.ids.end(), begin + before, begin + bos + hay);
  hidden.question_begin = std::ssize(hidden.ids);
  hidden.ids.insert(hidden.ids.end(), parts.question.begin(), parts.question.end());
  hidden.answer_begin = std::ssize(hidden.ids);
  hidden.ids.insert(hidden.ids.end(), parts.answer.begin(), parts.answer.end());
  return hidden;
}

/// ln p per answer token.
double answer_log_p(const std::vector<double>& nll, int64_t answer_begin) {
  const auto first = nll.begin() + answer_begin - 1;
  return -std::accumulate(first, nll.end(), 0.0) / static_cast<double>(nll.end() - first);
}

std::vector<analysis::NeedleSet> survivals(const SimulatedText& run, const NeedleText& hidden) {
  std::vector<analysis::NeedleSet> sets;
  for (const SimulatedSet& set : run.sets) {
    const auto lost = std::ranges::count_if(set.log, [&](const kernels::Eviction& e) {
      return e.step < hidden.answer_begin && e.position >= hidden.needle_begin &&
             e.position < hidden.needle_end;
    });
    const auto needle = static_cast<double>(hidden.needle_end - hidden.needle_begin);
    sets.push_back({.layer = set.layer,
                    .kv_head = static_cast<int>(set.owner.kv_head),
                    .first_query_head = static_cast<int>(set.owner.first_query_head),
                    .survival = 1 - static_cast<double>(lost) / needle});
  }
  return sets;
}

/// The shortest run of the text's tokens that holds the needle.
NeedleText find(const Tokenizer& tokenizer, const TextInput& text, const std::string& needle,
                const Needle& parts) {
  NeedleText found;
  const Ids& ids = text.tokens.ids;
  for (auto begin = ids.begin() + (text.bos ? 1 : 0); begin != ids.end(); ++begin) {
    auto end = begin;
    std::string words;
    while (words.size() < needle.size() + 16 && end != ids.end() && words.find(needle) == std::string::npos)
      words = tokenizer.decode(Ids(begin, ++end));
    const bool shorter = found.needle_end == 0 || end - begin < found.needle_end - found.needle_begin;
    if (words.find(needle) == std::string::npos || !shorter) continue;
    found.needle_begin = begin - ids.begin();
    found.needle_end = end - ids.begin();
  }
  require<UsageError>(found.needle_end > 0, "--needle '", needle, "' is not in ", text.description,
                      "; give a sentence of the text as its tokens spell it, or --needle-place hide");
  found.ids = ids;
  found.question_begin = std::ssize(ids);
  found.ids.insert(found.ids.end(), parts.question.begin(), parts.question.end());
  found.answer_begin = std::ssize(found.ids);
  found.ids.insert(found.ids.end(), parts.answer.begin(), parts.answer.end());
  return found;
}

NeedleText without_needle(NeedleText hidden) {
  const int64_t needle = hidden.needle_end - hidden.needle_begin;
  hidden.ids.erase(hidden.ids.begin() + hidden.needle_begin, hidden.ids.begin() + hidden.needle_end);
  hidden.needle_end = hidden.needle_begin;
  hidden.question_begin -= needle;
  hidden.answer_begin -= needle;
  return hidden;
}

void check_length(int64_t length, const TextInput& text, const Needle& parts) {
  const int64_t least = std::ssize(parts.needle) + std::ssize(parts.question) + 2;
  require<UsageError>(length >= least, "--lengths ", length, ": needle and question alone have ", least - 2,
                      " tokens; give longer lengths or a shorter needle");
  const auto most = std::ssize(text.tokens.ids);
  require<UsageError>(length <= most, "--lengths ", length, ": ", text.description, " has ", most,
                      " tokens; give a longer text (--seq-len)");
}

}  // namespace

std::vector<NeedlePlace> needle_places(const Tokenizer& tokenizer, const TextInput& text,
                                       const ModelConfig& config, const NeedleOptions& o) {
  const Needle parts{piece_of(tokenizer, o.needle), piece_of(tokenizer, o.question),
                     piece_of(tokenizer, o.answer.empty() ? last_word(o.needle) : o.answer)};
  std::vector<NeedlePlace> places;
  if (o.place == "found") {
    const NeedleText found = find(tokenizer, text, o.needle, parts);
    places.push_back(
        {.depth = static_cast<double>(found.needle_begin) / static_cast<double>(found.answer_begin),
         .length = found.answer_begin,
         .hidden = found,
         .absent = without_needle(found)});
  } else {
    const auto most = std::ssize(text.tokens.ids);
    for (const int64_t length : o.lengths.empty() ? std::vector<int64_t>{most / 2, most} : o.lengths) {
      check_length(length, text, parts);
      for (const double depth : o.depths)
        places.push_back({.depth = depth,
                          .length = length,
                          .hidden = hide(text, parts, depth, length, true),
                          .absent = hide(text, parts, depth, length, false)});
    }
  }
  for (const NeedlePlace& place : places)
    require<UsageError>(std::ssize(place.hidden.ids) <= config.context, "text, question and answer have ",
                        place.hidden.ids.size(), " tokens; the model's context is ", config.context,
                        ". Give a shorter text (--seq-len)");
  return places;
}

std::vector<analysis::NeedleCell> find_needle(const Runner& runner, std::span<const NeedlePlace> places,
                                              std::span<const Simulation> simulations,
                                              const SimulateOptions& o) {
  const Decoder& decoder = runner.model.decoder;
  const ModelConfig& config = decoder.config();
  SimulationOptions settings = settings_of(o, config);
  settings.compare = false;
  std::vector<analysis::NeedleCell> cells;
  std::vector<double> without;
  Progress progress("hiding the needle", std::ssize(places), o.call.quiet);
  for (size_t p = 0; p < places.size(); ++p) {
    const auto& [depth, length, hidden, absent] = places[p];
    if (p == 0 || absent.ids != places[p - 1].absent.ids) {
      settings.prompt = 0;
      const at::Tensor none = simulate(decoder, absent.ids, {}, settings).full;
      without = compare_predictions(decoder, none, std::array{none}, absent.ids).front().nll_full;
    }
    settings.prompt = o.prefill == "full" ? hidden.question_begin : 0;
    const SimulationResult result = simulate(decoder, hidden.ids, simulations, settings);
    std::vector<at::Tensor> states;
    for (const SimulatedText& one : result.texts) states.push_back(one.hidden);
    const auto scores = compare_predictions(decoder, result.full, states, hidden.ids);
    for (size_t i = 0; i < simulations.size(); ++i) {
      analysis::NeedleCell cell{.policy = simulations[i].policy.name,
                                .budget = simulations[i].budget.text,
                                .depth = depth,
                                .length = length,
                                .log_p = answer_log_p(scores[i].nll, hidden.answer_begin),
                                .log_p_full = answer_log_p(scores[i].nll_full, hidden.answer_begin),
                                .log_p_absent = answer_log_p(without, absent.answer_begin),
                                .survival = 0,
                                .sets = survivals(result.texts[i], hidden)};
      for (const analysis::NeedleSet& set : cell.sets) cell.survival += set.survival;
      cell.survival /= static_cast<double>(cell.sets.size());
      cells.push_back(std::move(cell));
    }
    progress.update(static_cast<int64_t>(p) + 1);
  }
  return cells;
}

}  // namespace kvviz
