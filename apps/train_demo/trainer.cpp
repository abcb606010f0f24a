// SPDX-License-Identifier: MIT
#include "train_demo/trainer.hpp"

#include <torch/torch.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <numbers>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/model/decoder.hpp"
#include "kvviz/tensor/runtime.hpp"
#include "train_demo/export.hpp"
#include "train_demo/windows.hpp"

namespace kvviz {
namespace {

constexpr int64_t shards =
    4;  // of a batch; each is one thread's work, so the sum of gradients has a fixed order
constexpr int64_t vocabulary = 2048;
constexpr int64_t evaluate_every = 200;
constexpr int64_t sink_tokens = 64;
constexpr double sink_threshold = 0.3;

struct BatchShape {
  int64_t windows, length;
};

struct Stage {
  BatchShape shape;
  double until = 0;  // share of the steps
};

std::vector<Stage> parse_stages(const std::vector<std::string>& texts) {
  std::vector<Stage> stages;
  double until = 0;
  for (const std::string& text : texts) {
    long long length = 0, windows = 0;
    double share = 0;
    require(std::sscanf(text.c_str(), "%lldx%lld:%lf", &length, &windows, &share) == 3 && length > 1 &&
                windows >= shards && share > 0,
            "--stages ", text, ": expected TOKENSxWINDOWS:SHARE with at least ", shards, " windows");
    until += share;
    stages.push_back({{windows, length}, until});
  }
  require(std::abs(until - 1) < 1e-6, "--stages: the shares add up to ", until, ", expected 1");
  return stages;
}

BatchShape batch_shape(const std::vector<Stage>& stages, double progress) {
  for (const Stage& stage : stages)
    if (progress < stage.until) return stage.shape;
  return stages.back().shape;
}

double learning_rate(const TrainOptions& options, int64_t step) {
  constexpr double warm_up = 100, floor = 0.1;
  const double progress = static_cast<double>(step) / static_cast<double>(options.steps);
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return options.rate * std::min(1.0, static_cast<double>(step + 1) / warm_up) *
         (floor + (1 - floor) * cosine);
}

ModelConfig demo_config(const TrainOptions& o) {
  ModelConfig config{
      .architecture = "LlamaForCausalLM", .hidden = o.hidden, .vocabulary = vocabulary, .context = 1024};
  config.rope.rotary_dim = o.head_dim;
  config.rope.theta = o.rope_theta;
  config.tied_head = true;
  config.attention_bias = config.output_bias = o.attention_bias;
  const LayerConfig layer{.heads = o.heads,
                          .kv_heads = o.kv_heads,
                          .head_dim = o.head_dim,
                          .mlp_dim = o.mlp,
                          .attention_scale = 1 / std::sqrt(static_cast<double>(o.head_dim))};
  config.layers.assign(static_cast<size_t>(o.layers), layer);
  return config;
}

bool ends_with(const std::string& text, const char* end) {
  return text.ends_with(end);
}

void initialise(const ModelConfig& config, ModelWeights& weights) {
  const double residual = 0.02 / std::sqrt(2.0 * static_cast<double>(config.layers.size()));
  for (const WeightSlot& slot : weight_slots(config, weights)) {
    const bool into_residual = ends_with(slot.name, "output.weight") || ends_with(slot.name, "down.weight");
    if (slot.shape.size() == 1)
      *slot.target = ends_with(slot.name, "bias") ? torch::zeros(slot.shape) : torch::ones(slot.shape);
    else
      *slot.target = torch::randn(slot.shape).mul(into_residual ? residual : 0.02);
  }
}

struct Training {
  Decoder decoder;
  torch::optim::AdamW optimiser;
};

at::Tensor attend_eagerly(const LayerQkv& x) {
  return eager_attention(x.query, x.key, x.value, x.spec);
}

at::Tensor loss_of(const Decoder& decoder, const Batch& batch) {
  const at::Tensor logits = decoder.logits(decoder.hidden(batch.input, {}, attend_eagerly));
  return torch::nn::functional::cross_entropy(logits.flatten(0, 1), batch.target.flatten());
}

// Mean loss over the shards; leaves its gradient in the parameters. A shard runs on one thread from end to
// end: at this size that is several times faster than sharing out every operation.
double accumulate_gradients(const Decoder& decoder, const std::vector<at::Tensor>& parameters,
                            const Batch& batch) {
  const auto inputs = batch.input.chunk(shards), targets = batch.target.chunk(shards);
  std::vector<std::vector<at::Tensor>> gradients(shards);
  std::vector<double> losses(shards);
  kernels::parallel_for(shards, [&](int64_t index) {
    at::set_num_threads(1);
    const auto i = static_cast<size_t>(index);
    const at::Tensor loss = loss_of(decoder, {inputs[i].contiguous(), targets[i].contiguous()}) / shards;
    gradients[i] = torch::autograd::grad({loss}, parameters);
    losses[i] = loss.item<double>();
  });
  double loss = 0;
  for (size_t i = 0; i < shards; ++i) {
    loss += losses[i];
    for (size_t p = 0; p < parameters.size(); ++p) {
      at::Tensor& sum = parameters[p].mutable_grad();
      sum = i == 0 ? gradients[i][p] : sum.add_(gradients[i][p]);
    }
  }
  return loss;
}

struct Evaluation {
  double loss = 0;          ///< nats per token
  double sink_rate = 0;     ///< share of query heads with mean alpha_1 > 0.3 over the first 64 tokens
  double largest_sink = 0;  ///< largest mean alpha_1 of a head
  std::string by_layer;     ///< mean alpha_1 of each layer's heads
};

Evaluation evaluate(const Decoder& decoder, const std::vector<int32_t>& stream) {
  torch::NoGradGuard no_grad;
  constexpr int64_t windows = 24, length = 256;
  Evaluation result;
  std::vector<at::Tensor> alpha(decoder.config().layers.size());
  for (int64_t i = 0; i < windows; ++i) {
    const Batch batch = held_out_window(stream, 4 * i, length);
    const auto attend = [&](const LayerQkv& x) {
      at::Tensor weights;
      const at::Tensor out = eager_attention(x.query, x.key, x.value, x.spec, &weights);
      const at::Tensor first = weights.narrow(2, 0, sink_tokens).select(3, 0).mean(at::IntArrayRef{0, 2});
      at::Tensor& sum = alpha[static_cast<size_t>(x.layer)];
      sum = sum.defined() ? sum + first : first;
      return out;
    };
    const at::Tensor logits = decoder.logits(decoder.hidden(batch.input, {}, attend));
    result.loss +=
        torch::nn::functional::cross_entropy(logits.flatten(0, 1), batch.target.flatten()).item<double>();
  }
  result.loss /= windows;
  const at::Tensor all = torch::cat(alpha) / static_cast<double>(windows);
  result.sink_rate = all.gt(sink_threshold).to(torch::kFloat).mean().item<double>();
  result.largest_sink = all.max().item<double>();
  for (const at::Tensor& layer : alpha) {
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "%s%.3f", result.by_layer.empty() ? "" : " ",
                  layer.mean().item<double>() / windows);
    result.by_layer += text.data();
  }
  return result;
}

std::filesystem::path checkpoint_file(const TrainOptions& o) {
  return o.work / "checkpoint.pt";
}

void save(const TrainOptions& options, Training& training, ModelWeights& weights, int64_t step) {
  torch::serialize::OutputArchive archive, optimiser;
  archive.write("step", torch::tensor(step));
  for (const WeightSlot& slot : weight_slots(training.decoder.config(), weights))
    archive.write(slot.name, slot.target->detach());
  training.optimiser.save(optimiser);
  archive.write("optimiser", optimiser);
  const auto part = checkpoint_file(options).string() + ".part";
  archive.save_to(part);
  std::filesystem::rename(part, checkpoint_file(options));
}

int64_t resume(const TrainOptions& options, Training& training, ModelWeights& weights) {
  if (!std::filesystem::exists(checkpoint_file(options))) return 0;
  torch::NoGradGuard no_grad;
  torch::serialize::InputArchive archive, optimiser;
  archive.load_from(checkpoint_file(options).string());
  for (const WeightSlot& slot : weight_slots(training.decoder.config(), weights)) {
    at::Tensor stored;
    archive.read(slot.name, stored);
    slot.target->copy_(stored);
  }
  archive.read("optimiser", optimiser);
  training.optimiser.load(optimiser);
  at::Tensor step;
  archive.read("step", step);
  return step.item<int64_t>();
}

torch::optim::AdamW make_optimiser(const TrainOptions& options, const ModelConfig& config,
                                   ModelWeights& weights) {
  std::vector<at::Tensor> matrices, vectors;
  for (const WeightSlot& slot : weight_slots(config, weights)) {
    slot.target->set_requires_grad(true);
    (slot.shape.size() == 1 ? vectors : matrices).push_back(*slot.target);
  }
  const auto settings = [&](double decay) {
    return std::make_unique<torch::optim::AdamWOptions>(
        torch::optim::AdamWOptions(options.rate).betas({0.9, 0.95}).weight_decay(decay));
  };
  return torch::optim::AdamW(std::vector<torch::optim::OptimizerParamGroup>{
      {matrices, settings(options.weight_decay)}, {vectors, settings(0)}});
}

// Set at every step: a checkpoint brings the settings it was made with.
void configure(torch::optim::AdamW& optimiser, double rate, double matrix_decay) {
  auto& groups = optimiser.param_groups();
  for (size_t i = 0; i < groups.size(); ++i)
    static_cast<torch::optim::AdamWOptions&>(groups[i].options())
        .lr(rate)
        .weight_decay(i == 0 ? matrix_decay : 0);
}

std::vector<at::Tensor> parameters(torch::optim::AdamW& optimiser) {
  std::vector<at::Tensor> all;
  for (const auto& group : optimiser.param_groups())
    all.insert(all.end(), group.params().begin(), group.params().end());
  return all;
}

}  // namespace

void train(const TrainOptions& options) {
  set_threads(options.threads);
  torch::manual_seed(options.seed);
  const auto stream = read_ids(options.work / "train.ids"),
             held_out = read_ids(options.work / "held_out.ids");
  const ModelConfig config = demo_config(options);
  ModelWeights weights;
  initialise(config, weights);
  torch::optim::AdamW optimiser = make_optimiser(options, config, weights);
  Training training{Decoder(config, weights), std::move(optimiser)};
  const int64_t first = resume(options, training, weights);
  std::printf("%lld parameters, %zu training tokens, from step %lld\n",
              static_cast<long long>(config.parameters()), stream.size(), static_cast<long long>(first));
  std::ofstream log(options.work / "log.tsv", std::ios::app);
  const auto stages = parse_stages(options.stages);
  const auto start = std::chrono::steady_clock::now();
  const std::vector<at::Tensor> all = parameters(training.optimiser);
  double running = 0;
  int64_t tokens = 0;
  for (int64_t step = first; step < options.steps; ++step) {
    // A generator of the step alone, so that a resumed run draws the same windows.
    std::mt19937_64 random(options.seed * 1000003 + static_cast<uint64_t>(step));
    const BatchShape shape =
        batch_shape(stages, static_cast<double>(step) / static_cast<double>(options.steps));
    const Repeats repeats{options.repeat_share, options.repeats, options.shortest_repeat};
    const Batch batch = random_windows(stream, shape.windows, shape.length, repeats, random);
    tokens += batch.input.numel();
    configure(training.optimiser, learning_rate(options, step), options.weight_decay);
    const double value = accumulate_gradients(training.decoder, all, batch);
    torch::nn::utils::clip_grad_norm_(all, 1.0);
    training.optimiser.step();
    require(std::isfinite(value), "the loss is not finite at step ", step);
    running = running == 0 ? value : 0.98 * running + 0.02 * value;
    if ((step + 1) % evaluate_every == 0 || step + 1 == options.steps) {
      const Evaluation e = evaluate(training.decoder, held_out);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      const double rate = static_cast<double>(tokens) / seconds;
      const auto line = cat(step + 1, '\t', running, '\t', e.loss, '\t', e.sink_rate, '\t', e.largest_sink,
                            '\t', rate, '\t', e.by_layer);
      log << line << std::endl;
      std::printf(
          "step, training loss, held-out loss, sink rate, largest alpha_1, tokens/s, mean alpha_1 by layer: "
          "%s\n",
          line.c_str());
      std::fflush(stdout);
      save(options, training, weights, step + 1);
    }
  }
  export_model(options, config, weights);
}

}  // namespace kvviz
