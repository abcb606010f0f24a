// SPDX-License-Identifier: MIT
#include "kvviz/eval/live_text.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <doctest/doctest.h>

#include <cmath>

#include "kvviz/attention/attention.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/eval/continuation.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/model/load.hpp"

using namespace kvviz;

namespace {

using Ids = std::vector<int32_t>;
const Ids text{1, 5, 9, 2, 7, 3};

const Decoder& decoder() {
  static const LoadedModel model = load_model(std::filesystem::path(KVVIZ_FIXTURES) / "models/mistral");
  return model.decoder;
}

/// Softmax matrices of a layer by plain tensor operations, [query_heads, n, n].
at::Tensor eager_weights(const Ids& ids, int layer) {
  at::Tensor weights;
  const at::NoGradGuard no_grad;
  const at::Tensor input = at::empty({1, std::ssize(ids)}, at::kLong);
  std::copy(ids.begin(), ids.end(), input.data_ptr<int64_t>());
  decoder().hidden(input, {}, [&](const LayerQkv& x) {
    at::Tensor one;
    at::Tensor out = eager_attention(x.query, x.key, x.value, x.spec, &one);
    if (x.layer == layer) weights = one[0];
    return out;
  });
  return weights;
}

void check_rows(const LiveText& live, const at::Tensor& expected) {
  for (int64_t i = 0; i < std::ssize(live.tokens()); ++i) {
    const auto row = live.row(i);
    REQUIRE(std::ssize(row) == i + 1);
    for (int64_t j = 0; j <= i; ++j)
      CHECK(row[static_cast<size_t>(j)] == doctest::Approx(expected[i][j].item<float>()).epsilon(1e-4));
  }
}

Ids read_all(LiveText& live) {
  while (live.ended().empty()) live.step();
  Ids ids;
  for (const LiveToken& token : live.tokens()) ids.push_back(token.id);
  return ids;
}

}  // namespace

TEST_CASE("[live] rows are those of the softmax matrix: one head, the mean, another view later") {
  LiveText live(decoder(), text, {.layer = 1, .head = 2}, {});
  CHECK(read_all(live) == text);
  CHECK(live.ended() == "end of text");
  check_rows(live, eager_weights(text, 1)[2]);
  live.show({.layer = 0, .head = std::nullopt});
  check_rows(live, eager_weights(text, 0).mean(0));
  live.show({.layer = 1, .head = 0});
  check_rows(live, eager_weights(text, 1)[0]);
}

TEST_CASE("[live] another view in the middle goes on as if it had been there from the start") {
  LiveText live(decoder(), text, {.layer = 0, .head = 1}, {.generate = 5});
  for (int i = 0; i < 4; ++i) live.step();
  live.show({.layer = 1, .head = std::nullopt});
  const Ids ids = read_all(live);
  check_rows(live, eager_weights(ids, 1).mean(0));
}

TEST_CASE("[live] tokens and losses are those of a session that continues the text") {
  LiveText live(decoder(), text, {}, {.generate = 6});
  const Ids ids = read_all(live);
  CHECK(live.ended() == "end of generation");
  Session session(decoder());
  ContinuationRequest request{.prompt = text, .tokens = 6};
  request.extend = [&](std::span<const int32_t> more) { return session.extend(more); };
  const Continuation made = continue_text(decoder(), request);
  REQUIRE(ids.size() == 12);
  CHECK(std::equal(made.ids.begin(), made.ids.end(), ids.begin() + std::ssize(text)));
  Session again(decoder());
  const TokenScores scores = score(decoder(), again.extend(ids), ids);
  CHECK_FALSE(live.tokens()[0].nll.has_value());
  for (size_t i = 1; i < ids.size(); ++i) {
    CHECK(live.tokens()[i].nll.value() == doctest::Approx(scores.nll[i - 1]).epsilon(1e-4));
    CHECK(live.tokens()[i].generated == (i >= text.size()));
  }
}

TEST_CASE("[live] the end-of-text token, more to generate, and views that do not exist") {
  LiveText first(decoder(), text, {}, {.generate = 3});
  const int32_t third = read_all(first).back();
  LiveText live(decoder(), text, {}, {.generate = 100, .stop = third});
  const Ids ids = read_all(live);
  CHECK(ids.back() == third);
  CHECK(ids.size() <= text.size() + 3);
  first.set_generate(4);
  CHECK(first.ended().empty());
  first.step();
  CHECK(first.ended() == "end of generation");
  CHECK_THROWS_AS(first.show({.layer = 99, .head = std::nullopt}), UsageError);
  CHECK_THROWS_AS(first.show({.layer = 0, .head = 99}), UsageError);
  CHECK_THROWS_AS(LiveText(decoder(), {}, {}, {}), UsageError);
  CHECK(first.tokens().size() == text.size() + 4);  // a refused view leaves everything as it was
  CHECK(first.row(9).size() == 10);
}
