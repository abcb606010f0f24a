// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/eval/sample.hpp"
#include "kvviz/model/session.hpp"

namespace kvviz {

/// Whose attention is kept: of one query head, or the mean over those of the layer.
struct AttentionView {
  int layer = 0;
  std::optional<int64_t> head;
  bool operator==(const AttentionView&) const = default;
};

/// Throws UsageError where the model has no such layer or head.
void validate(const AttentionView& view, const ModelConfig& config);

/// A token that was read or generated.
struct LiveToken {
  int32_t id = 0;
  bool generated = false;
  std::optional<double> nll;  ///< -ln p(token) under the prediction before it, nats; none for the first
};

/// A text that a model reads token by token and then goes on with, one decode step at a time, and the
/// attention weights of one view on the way: what a program that shows them live needs. A step costs a decode
/// step and one product with the output head; memory: the cache, and tokens^2 / 2 floats.
class LiveText {
 public:
  struct Settings {
    SamplingOptions sampling{};
    int64_t generate = 0;         ///< tokens after the text
    std::optional<int32_t> stop;  ///< the end-of-text token: once it is generated there is no next step
  };

  /// Throws as validate(), and UsageError for an empty text.
  LiveText(const Decoder& decoder, std::vector<int32_t> ids, AttentionView view, const Settings& settings);

  /// Why there is no next step: "end of text", "end of generation", "end of context"; empty: there is one.
  std::string ended() const;
  /// Reads the next token of the text or generates one. Throws DataError when a logit is NaN.
  LiveToken step();

  const std::vector<LiveToken>& tokens() const { return tokens_; }
  const AttentionView& view() const { return view_; }
  /// Weights of the query at `position` on the keys up to it, [position + 1]; a mean over heads is taken in
  /// fp64.
  std::span<const float> row(int64_t position) const;

  /// Another view of the same tokens, by one pass over all of them. Throws as validate().
  void show(const AttentionView& view);
  /// How many tokens are generated after the text, from now on.
  void set_generate(int64_t tokens) { settings_.generate = tokens; }

 private:
  at::Tensor extend(Session& session, std::span<const int32_t> ids);

  const Decoder& decoder_;
  std::vector<int32_t> ids_;
  AttentionView view_;
  Settings settings_;
  Sampler sampler_;
  Session session_;
  at::Tensor last_;  ///< hidden state of the newest token, [1, hidden]
  std::vector<LiveToken> tokens_;
  std::vector<float> rows_;  ///< row after row, each one longer than the last
};

}  // namespace kvviz
