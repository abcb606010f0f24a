// SPDX-License-Identifier: MIT
#include "kvviz/engine/trial_texts.hpp"

#include <mutex>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

/// Of the texts that a command line rules out, the one that comes closest.
struct RuledOut {
  bool fits = false;  ///< some text does
  int64_t tokens = -1;
  std::string reason;

  void add(int64_t of_tokens, const std::string& why) {
    if (of_tokens > tokens || (of_tokens == tokens && why < reason)) tokens = of_tokens, reason = why;
  }
};

}  // namespace

std::vector<TrialWindow> windows_of(const std::string& name, int64_t tokens, const TrialOptions& o) {
  require(tokens >= 4, name, " has ", tokens, tokens == 1 ? " token" : " tokens",
          "; a prefix and what is predicted behind it take at least 4");
  const int64_t prefix = o.prefix > 0 ? o.prefix : tokens / 2;
  require<UsageError>(prefix >= 1 && prefix <= tokens - 2, "--prefix-tokens ", prefix,
                      " leaves nothing to predict of ", name, ", which has ", tokens,
                      " tokens; expected at most ", tokens - 2);
  const int64_t rest = tokens - prefix;
  require<UsageError>(rest >= 2 * o.windows, "--windows ", o.windows, " cuts the ", rest,
                      " tokens after the prefix of ", name, " into pieces of less than 2; expected at most ",
                      rest / 2);
  std::vector<TrialWindow> windows;
  for (int64_t w = 0; w < o.windows; ++w)
    windows.push_back({prefix + w * rest / o.windows, prefix + (w + 1) * rest / o.windows});
  return windows;
}

void check_basis(const ModelConfig& model, const TrialOptions& o) {
  require<UsageError>(o.basis == KeyBasis::post_rope || model.position == PositionKind::rope,
                      "--key-basis pre_rope: the model has no RoPE; leave the option out");
}

std::unique_ptr<TextRun> open_trial_texts(TextRun::Request request) {
  RuledOut ruled_out;
  std::mutex mutex;  // texts are looked at by several threads
  request.check = [&, check = request.check](const batch::PlannedText& text) {
    try {
      check(text);
      const std::lock_guard lock(mutex);
      ruled_out.fits = true;
    } catch (const UsageError& error) {
      const std::lock_guard lock(mutex);
      ruled_out.add(text.tokens, error.what());
      throw DataError(error.what());
    }
  };
  try {
    return std::make_unique<TextRun>(request);
  } catch (const DataError&) {
    if (request.texts.batch.strict || ruled_out.fits || ruled_out.tokens < 0) throw;
    throw UsageError(ruled_out.reason);
  }
}

}  // namespace kvviz
