// SPDX-License-Identifier: MIT
#include "kvviz/eval/coded_cache.hpp"

#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/model/session.hpp"

namespace kvviz {
namespace {

std::vector<double> errors(const at::Tensor& test, const at::Tensor& full) {
  const at::Tensor difference = test.sub(full).to(at::kDouble).square().sum({1, 2}).contiguous();
  const at::Tensor size = full.to(at::kDouble).square().sum({1, 2}).contiguous();
  std::vector<double> heads;
  for (int64_t h = 0; h < full.size(0); ++h) {
    const double of = size.data_ptr<double>()[h], off = difference.data_ptr<double>()[h];
    heads.push_back(of > 0 ? std::sqrt(off / of) : std::sqrt(off));
  }
  return heads;
}

}  // namespace

SplitText::SplitText(const Decoder& decoder, std::span<const int32_t> ids, int64_t prefix)
    : decoder_(decoder), ids_(ids) {
  require<UsageError>(prefix >= 1 && prefix <= std::ssize(ids) - 2, "a prefix of ", prefix,
                      " tokens leaves nothing to predict of a text of ", ids.size());
  ids_ = ids.subspan(static_cast<size_t>(prefix));
  Session session(decoder);
  session.extend(ids.first(static_cast<size_t>(prefix)));
  cache_ = session.cache(prefix);
  for (LayerKv& layer : cache_.layers) {
    layer.key = layer.key.clone();
    layer.value = layer.value.clone();
  }
  Session::Watch watch;
  watch.probe = [&](Site site, int, const at::Tensor& x) {
    if (site == Site::attention) outputs_.push_back(x[0].clone());
  };
  hidden_ = session.extend(ids_, watch);
}

CodedRun SplitText::run(std::span<const LayerKv> layers) const {
  KvView view = cache_.view();
  view.layers = layers;
  CodedRun run;
  Session::Watch watch;
  watch.probe = [&](Site site, int layer, const at::Tensor& x) {
    if (site == Site::attention)
      run.output_error.push_back(errors(x[0], outputs_[static_cast<size_t>(layer)]));
  };
  Session session(decoder_, view);
  run.hidden = session.extend(ids_, watch);
  return run;
}

}  // namespace kvviz
