// SPDX-License-Identifier: MIT
#include "kvviz/eval/live_text.hpp"

#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/logit_rows.hpp"

namespace kvviz {

void validate(const AttentionView& view, const ModelConfig& config) {
  const auto layers = std::ssize(config.layers);
  require<UsageError>(view.layer >= 0 && view.layer < layers, "there is no layer ", view.layer,
                      "; this model has the layers 0 to ", layers - 1);
  const int64_t heads = config.layers[static_cast<size_t>(view.layer)].heads;
  require<UsageError>(!view.head || (*view.head >= 0 && *view.head < heads), "there is no query head ",
                      view.head.value_or(0), "; layer ", view.layer, " has the heads 0 to ", heads - 1);
}

LiveText::LiveText(const Decoder& decoder, std::vector<int32_t> ids, AttentionView view,
                   const Settings& settings)
    : decoder_(decoder),
      ids_(std::move(ids)),
      view_(view),
      settings_(settings),
      sampler_(settings.sampling),
      session_(decoder) {
  validate(view, decoder.config());
  require<UsageError>(!ids_.empty(), "the text is empty");
}

std::string LiveText::ended() const {
  const auto read = std::ssize(tokens_), given = std::ssize(ids_);
  const bool stopped = read > given && settings_.stop && tokens_.back().id == *settings_.stop;
  if (stopped) return "end of generation";
  if (read >= given + settings_.generate) return settings_.generate > 0 ? "end of generation" : "end of text";
  return read >= decoder_.config().context ? "end of context" : "";
}

std::span<const float> LiveText::row(int64_t position) const {
  const auto begin = static_cast<size_t>(position * (position + 1) / 2);
  return std::span(rows_).subspan(begin, static_cast<size_t>(position + 1));
}

LiveToken LiveText::step() {
  const at::Tensor before = last_;
  LiveToken token{.generated = tokens_.size() >= ids_.size()};
  if (before.defined()) {
    const LogitRows logits(decoder_, before, 0, 1);
    const std::span row(logits.row(0), static_cast<size_t>(logits.vocabulary()));
    token.id = token.generated ? sampler_.draw(row) : ids_[tokens_.size()];
    token.nll = logits.nll(0, token.id);
  } else {
    token.id = ids_.front();
  }
  last_ = extend(session_, std::span(&token.id, 1));
  tokens_.push_back(token);
  return token;
}

// Appends the rows of the view.
at::Tensor LiveText::extend(Session& session, std::span<const int32_t> ids) {
  const int64_t heads = decoder_.config().layers[static_cast<size_t>(view_.layer)].heads;
  Session::Watch watch;
  watch.only_layer = view_.layer;
  watch.attention.statistics = true;
  watch.attention.exact_heads.resize(view_.head ? 1 : static_cast<size_t>(heads));
  std::iota(watch.attention.exact_heads.begin(), watch.attention.exact_heads.end(), view_.head.value_or(0));
  const auto first = session.tokens(), keys = first + std::ssize(ids);
  watch.on_attention = [&](int, const std::vector<kernels::HeadAttention>& statistics) {
    const auto shown = static_cast<double>(watch.attention.exact_heads.size());
    for (int64_t query = first; query < keys; ++query)
      for (int64_t key = 0; key <= query; ++key) {
        double sum = 0;
        for (const int64_t head : watch.attention.exact_heads)
          sum += static_cast<double>(
              statistics[static_cast<size_t>(head)].exact[static_cast<size_t>((query - first) * keys + key)]);
        rows_.push_back(static_cast<float>(sum / shown));
      }
  };
  const at::Tensor hidden = session.extend(ids, watch);
  return hidden.narrow(0, hidden.size(0) - 1, 1).clone();
}

void LiveText::show(const AttentionView& view) {
  validate(view, decoder_.config());
  view_ = view;
  rows_.clear();
  if (tokens_.empty()) return;
  std::vector<int32_t> ids;
  for (const LiveToken& token : tokens_) ids.push_back(token.id);
  Session again(decoder_);
  extend(again, ids);
}

}  // namespace kvviz
