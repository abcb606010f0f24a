// SPDX-License-Identifier: MIT
#include "kvviz/eval/continuation.hpp"

#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/evicting_session.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/session.hpp"

using namespace kvviz;

namespace {

using Ids = std::vector<int32_t>;
const Ids prompt{1, 5, 9, 2, 7};

const Decoder& decoder() {
  static const LoadedModel model = load_model(std::filesystem::path(KVVIZ_FIXTURES) / "models/mistral");
  return model.decoder;
}

Continuation in_full(ContinuationRequest request) {
  Session session(decoder());
  request.prompt = prompt;
  request.extend = [&](std::span<const int32_t> ids) { return session.extend(ids); };
  Continuation made = continue_text(decoder(), request);
  CHECK(session.tokens() == std::ssize(prompt) + std::ssize(made.ids));
  return made;
}

/// Greedy text without a cache: the whole text is run anew for every token.
Ids without_cache(int64_t tokens) {
  Ids text = prompt;
  for (int64_t i = 0; i < tokens; ++i) {
    Session session(decoder());
    const at::Tensor logits = decoder().logits(session.extend(text).narrow(0, std::ssize(text) - 1, 1));
    text.push_back(static_cast<int32_t>(logits.argmax().item<int64_t>()));
  }
  return {text.begin() + std::ssize(prompt), text.end()};
}

}  // namespace

TEST_CASE("[continuation] every token is there, the first and the last too") {
  const Continuation made = in_full({.tokens = 8});
  CHECK(made.ids == without_cache(8));
  CHECK_FALSE(made.stopped);
  CHECK(made.probability.size() == 8);
  CHECK(made.step_seconds.size() == 8);
  Ids text = prompt;
  text.insert(text.end(), made.ids.begin(), made.ids.end());
  Session session(decoder());
  const TokenScores scores = score(decoder(), session.extend(text), text);
  for (size_t i = 0; i < 8; ++i)
    CHECK(made.probability[i] == doctest::Approx(std::exp(-scores.nll[prompt.size() - 1 + i])).epsilon(1e-4));
}

TEST_CASE("[continuation] the caller may look after the prompt and after each token") {
  std::vector<int64_t> lengths, counts;
  Session session(decoder());
  continue_text(decoder(), {.prompt = prompt,
                            .tokens = 3,
                            .extend = [&](std::span<const int32_t> ids) { return session.extend(ids); },
                            .after =
                                [&](int64_t generated) {
                                  counts.push_back(generated);
                                  lengths.push_back(session.tokens());
                                }});
  CHECK(counts == std::vector<int64_t>{0, 1, 2, 3});
  CHECK(lengths == std::vector<int64_t>{5, 6, 7, 8});
}

TEST_CASE("[continuation] the end-of-text token ends the text and is not part of it") {
  const Ids free = in_full({.tokens = 8}).ids;
  const auto first = std::find(free.begin(), free.end(), free[3]);
  const Continuation made = in_full({.tokens = 8, .stop = free[3]});
  CHECK(made.stopped);
  CHECK(made.ids == Ids(free.begin(), first));
}

TEST_CASE("[continuation] another text is measured up to where this one leaves it") {
  const Continuation made = in_full({.tokens = 6});
  Ids other = made.ids;
  other[3] = other[3] == 0 ? 1 : 0;
  const Continuation beside = in_full({.tokens = 6, .other = other});
  REQUIRE(beside.other.size() == 4);
  for (size_t i = 0; i < 3; ++i) CHECK(beside.other[i] == beside.probability[i]);
  CHECK(beside.other[3] < beside.probability[3]);
  CHECK(in_full({.tokens = 6, .other = made.ids}).other == made.probability);
}

TEST_CASE("[continuation] a policy that keeps all keys gives the same text, drawn or greedy") {
  for (const double temperature : {0.0, 1.0}) {
    const SamplingOptions sampling{.temperature = temperature, .seed = 3};
    EvictingSession session(decoder(), {policy::find_policy("h2o"), policy::parse_budget("1.0")}, {}, 15);
    const Continuation evicted = continue_text(
        decoder(),
        {.prompt = prompt, .tokens = 10, .sampling = sampling, .extend = [&](std::span<const int32_t> ids) {
           return session.extend(ids);
         }});
    CHECK(evicted.ids == in_full({.tokens = 10, .sampling = sampling}).ids);
  }
  CHECK_THROWS_AS(continue_text(decoder(), {}), UsageError);
}
