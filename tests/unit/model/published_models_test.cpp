// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "kvviz/model/arch.hpp"

using namespace kvviz;
using nlohmann::json;

namespace {

// Parameters as the model cards on the Hugging Face hub count them from the stored tensors (a tied head
// once), and K and V of a token in 16 bits, from the published shapes: 2 tensors x 2 bytes x layers x KV
// heads x head_dim.
struct Published {
  const char* name;
  int64_t parameters;
  int64_t cache_bytes;
  const char* config;
};

const Published published[] = {
    {"Llama-2-7b", 6738415616, 4 * 32 * 32 * 128,
     R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":4096,"intermediate_size":11008,
         "num_attention_heads":32,"num_key_value_heads":32,"num_hidden_layers":32,"vocab_size":32000,
         "tie_word_embeddings":false})"},
    {"Llama-3.2-1B", 1235814400, 4 * 16 * 8 * 64,
     R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":2048,"intermediate_size":8192,"head_dim":64,
         "num_attention_heads":32,"num_key_value_heads":8,"num_hidden_layers":16,"vocab_size":128256,
         "max_position_embeddings":131072,"rope_theta":500000.0,"tie_word_embeddings":true,"rope_scaling":{"factor":32.0,
         "high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"}})"},
    {"Mistral-7B-v0.1", 7241732096, 4 * 32 * 8 * 128,
     R"({"architectures":["MistralForCausalLM"],"model_type":"mistral","hidden_size":4096,"intermediate_size":14336,
         "num_attention_heads":32,"num_key_value_heads":8,"num_hidden_layers":32,"vocab_size":32000,
         "max_position_embeddings":32768,"sliding_window":4096})"},
    {"Qwen2-0.5B", 494032768, 4 * 24 * 2 * 64,
     R"({"architectures":["Qwen2ForCausalLM"],"model_type":"qwen2","hidden_size":896,"intermediate_size":4864,
         "num_attention_heads":14,"num_key_value_heads":2,"num_hidden_layers":24,"vocab_size":151936,
         "rope_theta":1000000.0,"tie_word_embeddings":true,"max_window_layers":24,"use_sliding_window":false})"},
    {"Qwen3-0.6B", 596049920, 4 * 28 * 8 * 128,
     R"({"architectures":["Qwen3ForCausalLM"],"model_type":"qwen3","hidden_size":1024,"intermediate_size":3072,"head_dim":128,
         "num_attention_heads":16,"num_key_value_heads":8,"num_hidden_layers":28,"vocab_size":151936,
         "rope_theta":1000000,"tie_word_embeddings":true,"attention_bias":false,"sliding_window":null})"},
    {"Mixtral-8x7B-v0.1", 46702792704, 4 * 32 * 8 * 128,
     R"({"architectures":["MixtralForCausalLM"],"model_type":"mixtral","hidden_size":4096,"intermediate_size":14336,
         "num_attention_heads":32,"num_key_value_heads":8,"num_hidden_layers":32,"vocab_size":32000,
         "num_local_experts":8,"num_experts_per_tok":2,"sliding_window":null})"},
    {"Qwen1.5-MoE-A2.7B", 14315784192, 4 * 24 * 16 * 128,
     R"({"architectures":["Qwen2MoeForCausalLM"],"model_type":"qwen2_moe","hidden_size":2048,"intermediate_size":5632,
         "num_attention_heads":16,"num_key_value_heads":16,"num_hidden_layers":24,"vocab_size":151936,
         "moe_intermediate_size":1408,"shared_expert_intermediate_size":5632,"num_experts":60,"num_experts_per_tok":4,
         "decoder_sparse_step":1,"norm_topk_prob":false,"tie_word_embeddings":false})"},
    {"Qwen3-30B-A3B", 30532122624, 4 * 48 * 4 * 128,
     R"({"architectures":["Qwen3MoeForCausalLM"],"model_type":"qwen3_moe","hidden_size":2048,"intermediate_size":6144,
         "num_attention_heads":32,"num_key_value_heads":4,"num_hidden_layers":48,"vocab_size":151936,"head_dim":128,
         "moe_intermediate_size":768,"num_experts":128,"num_experts_per_tok":8,"decoder_sparse_step":1,
         "norm_topk_prob":true,"mlp_only_layers":[],"tie_word_embeddings":false})"},
    {"gemma-2b", 2506172416, 4 * 18 * 1 * 256,
     R"({"architectures":["GemmaForCausalLM"],"model_type":"gemma","hidden_size":2048,"intermediate_size":16384,"head_dim":256,
         "num_attention_heads":8,"num_key_value_heads":1,"num_hidden_layers":18,"vocab_size":256000,"hidden_act":"gelu"})"},
    {"gemma-2-2b", 2614341888, 4 * 26 * 4 * 256,
     R"({"architectures":["Gemma2ForCausalLM"],"model_type":"gemma2","hidden_size":2304,"intermediate_size":9216,"head_dim":256,
         "num_attention_heads":8,"num_key_value_heads":4,"num_hidden_layers":26,"vocab_size":256000,
         "hidden_activation":"gelu_pytorch_tanh","query_pre_attn_scalar":256,"sliding_window":4096})"},
    {"phi-2", 2779683840, 4 * 32 * 32 * 80,
     R"({"architectures":["PhiForCausalLM"],"model_type":"phi","hidden_size":2560,"intermediate_size":10240,
         "num_attention_heads":32,"num_hidden_layers":32,"vocab_size":51200,"partial_rotary_factor":0.4})"},
    {"Phi-3-mini-4k-instruct", 3821079552, 4 * 32 * 32 * 96,
     R"({"architectures":["Phi3ForCausalLM"],"model_type":"phi3","hidden_size":3072,"intermediate_size":8192,
         "num_attention_heads":32,"num_key_value_heads":32,"num_hidden_layers":32,"vocab_size":32064,
         "original_max_position_embeddings":4096,"max_position_embeddings":4096,"sliding_window":2047})"},
    {"pythia-160m", 162322944, 4 * 12 * 12 * 64,
     R"({"architectures":["GPTNeoXForCausalLM"],"model_type":"gpt_neox","hidden_size":768,"intermediate_size":3072,
         "num_attention_heads":12,"num_hidden_layers":12,"vocab_size":50304,"rotary_pct":0.25,"rotary_emb_base":10000})"},
    {"gpt-j-6B", 6050882784, 4 * 28 * 16 * 256,
     R"({"architectures":["GPTJForCausalLM"],"model_type":"gptj","n_embd":4096,"n_head":16,"n_layer":28,"n_positions":2048,
         "rotary_dim":64,"vocab_size":50400,"n_inner":null})"},
    {"opt-125m", 125239296, 4 * 12 * 12 * 64,
     R"({"architectures":["OPTForCausalLM"],"model_type":"opt","hidden_size":768,"ffn_dim":3072,"num_attention_heads":12,
         "num_hidden_layers":12,"vocab_size":50272,"max_position_embeddings":2048,"word_embed_proj_dim":768})"},
    {"opt-350m", 331196416, 4 * 24 * 16 * 64,
     R"({"architectures":["OPTForCausalLM"],"model_type":"opt","hidden_size":1024,"ffn_dim":4096,"num_attention_heads":16,
         "num_hidden_layers":24,"vocab_size":50272,"max_position_embeddings":2048,"word_embed_proj_dim":512,
         "do_layer_norm_before":false})"},
    {"falcon-7b", 6921720704, 4 * 32 * 1 * 64,
     R"({"architectures":["FalconForCausalLM"],"model_type":"falcon","hidden_size":4544,"num_attention_heads":71,
         "num_hidden_layers":32,"vocab_size":65024,"multi_query":true,"parallel_attn":true,"bias":false,"alibi":false,
         "new_decoder_architecture":false})"},
    {"bloom-560m", 559214592, 4 * 24 * 16 * 64,
     R"({"architectures":["BloomForCausalLM"],"model_type":"bloom","hidden_size":1024,"n_layer":24,
         "num_attention_heads":16,"vocab_size":250880,"seq_length":2048})"},
    {"mpt-7b", 6649286656, 4 * 32 * 32 * 128,
     R"({"architectures":["MPTForCausalLM"],"model_type":"mpt","d_model":4096,"n_heads":32,"n_layers":32,"max_seq_len":2048,
         "vocab_size":50432,"no_bias":true,"expansion_ratio":4,"attn_config":{"alibi":true,"alibi_bias_max":8,
         "attn_impl":"torch","attn_type":"multihead_attention","clip_qkv":null,"prefix_lm":false,"qk_ln":false}})"},
};

}  // namespace

TEST_CASE("[model] config.json alone gives the published number of parameters and cache size") {
  for (const Published& model : published) {
    CAPTURE(model.name);
    const ModelConfig config = parse_config(json::parse(model.config));
    // OPT stores two rows of positions that no text uses.
    const int64_t unused = std::string_view(model.name).starts_with("opt-") ? 2 * config.hidden : 0;
    CHECK(config.parameters() + unused == model.parameters);
    CHECK(config.cache_bytes_per_token(2) == model.cache_bytes);
  }
}
