// SPDX-License-Identifier: MIT
// Trains the demo model with the project's own decoder: reads WORK/train.ids and WORK/held_out.ids (made by
// scripts/make_demo_model), writes checkpoints and at the end WORK/model (a Hugging Face Llama folder).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "train_demo/trainer.hpp"

int main(int argc, char** argv) {
  CLI::App app{"Train the demo model"};
  kvviz::TrainOptions options;
  app.add_option("--work", options.work, "folder with train.ids, held_out.ids, tokenizer.model")->required();
  app.add_option("--steps", options.steps, "optimiser steps")->capture_default_str();
  app.add_option("--threads", options.threads, "threads of libtorch (0: all CPUs)")->capture_default_str();
  app.add_option("--layers", options.layers, "layers")->capture_default_str();
  app.add_option("--hidden", options.hidden, "hidden size")->capture_default_str();
  app.add_option("--heads", options.heads, "query heads")->capture_default_str();
  app.add_option("--kv-heads", options.kv_heads, "KV heads")->capture_default_str();
  app.add_option("--head-dim", options.head_dim, "head_dim")->capture_default_str();
  app.add_option("--mlp", options.mlp, "MLP size")->capture_default_str();
  app.add_option("--stages", options.stages,
                 "TOKENSxWINDOWS:SHARE, ...: windows of a step, for a share of the steps")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--repeat-share", options.repeat_share, "windows in which passages come twice")
      ->capture_default_str();
  app.add_option("--repeats", options.repeats, "at most so many passages in such a window")
      ->capture_default_str();
  app.add_option("--shortest-repeat", options.shortest_repeat, "tokens of the shortest passage")
      ->capture_default_str();
  app.add_flag("--attention-bias,!--no-attention-bias", options.attention_bias,
               "biases of the attention projections");
  app.add_option("--rope-theta", options.rope_theta, "base of the rotary frequencies")->capture_default_str();
  app.add_option("--rate", options.rate, "peak learning rate")->capture_default_str();
  app.add_option("--weight-decay", options.weight_decay, "AdamW weight decay of matrices")
      ->capture_default_str();
  app.add_option("--seed", options.seed, "seed of weights and windows")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    kvviz::train(options);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_demo: %s\n", error.what());
    return 1;
  }
}
