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

/// Ids with the needle (or none) at a depth, `length` tokens with question and without answer.
struct Hidden {
  Ids ids;  ///< the answer at the end
  int64_t needle_begin = 0, needle_end = 0, question_begin = 0, answer_begin = 0;
};

Hidden hide(const TextInput& text, const Needle& parts, double depth, int64_t length, bool with_needle) {
  const int64_t bos = text.bos ? 1 : 0;
  const auto needle = with_needle ? std::ssize(parts.needle) : 0;
  const int64_t hay = length - bos - needle - std::ssize(parts.question);
  const auto begin = text.tokens.ids.begin();
  const int64_t before = bos + std::llround(depth * static_cast<double>(hay));
  Hidden hidden{.ids = Ids(begin, begin + before)};
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

/// Share of the needle's keys that the sets of each layer hold when the answer begins.
std::vector<double> survival(const SimulatedText& run, const Hidden& hidden, size_t layers) {
  std::vector<double> held(layers), sets(layers);
  for (const SimulatedSet& set : run.sets) {
    const auto layer = static_cast<size_t>(set.layer);
    ++sets[layer];
    const auto lost = std::ranges::count_if(set.log, [&](const kernels::Eviction& e) {
      return e.step < hidden.answer_begin && e.position >= hidden.needle_begin &&
             e.position < hidden.needle_end;
    });
    held[layer] +=
        1 - static_cast<double>(lost) / static_cast<double>(hidden.needle_end - hidden.needle_begin);
  }
  for (size_t layer = 0; layer < layers; ++layer) held[layer] /= sets[layer];
  return held;
}

std::vector<int64_t> lengths_of(const SimulateOptions& o, int64_t longest) {
  if (!o.needle.lengths.empty()) return o.needle.lengths;
  return {longest / 2, longest};
}

}  // namespace

std::vector<analysis::NeedleCell> find_needle(const Runner& runner, const TextInput& text,
                                              std::span<const Simulation> simulations,
                                              const SimulateOptions& o) {
  const Decoder& decoder = runner.model.decoder;
  const NeedleOptions& given = o.needle;
  const Needle parts{
      piece_of(*runner.tokenizer, given.needle), piece_of(*runner.tokenizer, given.question),
      piece_of(*runner.tokenizer, given.answer.empty() ? last_word(given.needle) : given.answer)};
  const auto most = std::ssize(text.tokens.ids);
  SimulationOptions settings = settings_of(o, decoder.config());
  settings.compare = false;
  const std::vector<int64_t> lengths = lengths_of(o, most);
  std::vector<analysis::NeedleCell> cells;
  Progress progress("hiding the needle", std::ssize(lengths) * std::ssize(given.depths), o.call.quiet);
  int64_t done = 0;
  for (const int64_t length : lengths) {
    const int64_t least = std::ssize(parts.needle) + std::ssize(parts.question) + 2;
    require<UsageError>(length >= least, "--lengths ", length, ": needle and question alone have ", least - 2,
                        " tokens; give longer lengths or a shorter needle");
    require<UsageError>(length <= most, "--lengths ", length, ": ", text.description, " has ", most,
                        " tokens; give a longer text (--seq-len)");
    const Hidden absent = hide(text, parts, 0, length, false);
    const auto empty = simulate(decoder, absent.ids, {}, settings);
    const std::array<at::Tensor, 1> itself{empty.full};
    const auto without = compare_predictions(decoder, empty.full, itself, absent.ids).front();
    for (const double depth : given.depths) {
      const Hidden hidden = hide(text, parts, depth, length, true);
      settings.prompt = o.prefill == "full" ? hidden.question_begin : 0;
      const SimulationResult result = simulate(decoder, hidden.ids, simulations, settings);
      std::vector<at::Tensor> states;
      for (const SimulatedText& one : result.texts) states.push_back(one.hidden);
      const auto scores = compare_predictions(decoder, result.full, states, hidden.ids);
      for (size_t i = 0; i < simulations.size(); ++i) {
        const auto layers = survival(result.texts[i], hidden, decoder.config().layers.size());
        cells.push_back({.policy = simulations[i].policy.name,
                         .budget = simulations[i].budget.text,
                         .depth = depth,
                         .length = length,
                         .log_p = answer_log_p(scores[i].nll, hidden.answer_begin),
                         .log_p_full = answer_log_p(scores[i].nll_full, hidden.answer_begin),
                         .log_p_absent = answer_log_p(without.nll_full, absent.answer_begin),
                         .survival = std::accumulate(layers.begin(), layers.end(), 0.0) /
                                     static_cast<double>(layers.size()),
                         .layer_survival = layers});
      }
      progress.update(++done);
    }
  }
  return cells;
}

}  // namespace kvviz
