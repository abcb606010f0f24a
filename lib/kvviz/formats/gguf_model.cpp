// SPDX-License-Identifier: MIT
#include "kvviz/formats/gguf_model.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "kvviz/core/error.hpp"
#include "kvviz/formats/gguf_keys.hpp"

namespace kvviz {
namespace {

constexpr int64_t most_heads = 1 << 20;

/// What a conversion did to a tensor.
enum class Change {
  none,
  interleaved_query,  // rows of each head: channel i and i + d/2 side by side
  interleaved_key,
  one_added,
  transposed,
  parted_qkv,    // query, key and value of all heads, one after the other; before: of each group of heads
  fused_qkv,     // of three projections
  stacked,       // experts, one behind the other
  row_of_vector  // a matrix of one row
};

/// "{}" is the block, "<>" the expert, "*" one of q, k, v.
struct Rule {
  std::string_view ours, theirs;
  Change change = Change::none;
};

std::vector<Rule> llama_rules(Change query, Change key) {
  return {{"token_embd", "model.embed_tokens"},
          {"output_norm", "model.norm"},
          {"output", "lm_head"},
          {"attn_norm", "model.layers.{}.input_layernorm"},
          {"ffn_norm", "model.layers.{}.post_attention_layernorm"},
          {"attn_q", "model.layers.{}.self_attn.q_proj", query},
          {"attn_k", "model.layers.{}.self_attn.k_proj", key},
          {"attn_v", "model.layers.{}.self_attn.v_proj"},
          {"attn_output", "model.layers.{}.self_attn.o_proj"},
          {"attn_q_norm", "model.layers.{}.self_attn.q_norm"},
          {"attn_k_norm", "model.layers.{}.self_attn.k_norm"},
          {"ffn_gate", "model.layers.{}.mlp.gate_proj"},
          {"ffn_up", "model.layers.{}.mlp.up_proj"},
          {"ffn_down", "model.layers.{}.mlp.down_proj"}};
}

std::vector<Rule> with(std::vector<Rule> rules, const std::vector<Rule>& more) {
  rules.insert(rules.end(), more.begin(), more.end());
  return rules;
}

std::vector<Rule> mixtral_and_llama_rules() {
  return with(llama_rules(Change::interleaved_query, Change::interleaved_key),
              {{"ffn_gate_inp", "model.layers.{}.block_sparse_moe.gate"},
               {"ffn_gate_exps", "model.layers.{}.block_sparse_moe.experts.<>.w1", Change::stacked},
               {"ffn_down_exps", "model.layers.{}.block_sparse_moe.experts.<>.w2", Change::stacked},
               {"ffn_up_exps", "model.layers.{}.block_sparse_moe.experts.<>.w3", Change::stacked}});
}

std::vector<Rule> qwen_rules() {
  return with(llama_rules(Change::none, Change::none),
              {{"ffn_gate_inp", "model.layers.{}.mlp.gate"},
               {"ffn_gate_exps", "model.layers.{}.mlp.experts.<>.gate_proj", Change::stacked},
               {"ffn_down_exps", "model.layers.{}.mlp.experts.<>.down_proj", Change::stacked},
               {"ffn_up_exps", "model.layers.{}.mlp.experts.<>.up_proj", Change::stacked},
               {"ffn_gate_inp_shexp", "model.layers.{}.mlp.shared_expert_gate", Change::row_of_vector},
               {"ffn_gate_shexp", "model.layers.{}.mlp.shared_expert.gate_proj"},
               {"ffn_up_shexp", "model.layers.{}.mlp.shared_expert.up_proj"},
               {"ffn_down_shexp", "model.layers.{}.mlp.shared_expert.down_proj"}});
}

std::vector<Rule> gemma_rules(bool around) {
  std::vector<Rule> rules = llama_rules(Change::none, Change::none);
  if (around) {
    std::erase_if(rules, [](const Rule& rule) { return rule.ours == "ffn_norm"; });
    rules = with(std::move(rules), {{"post_attention_norm", "model.layers.{}.post_attention_layernorm"},
                                    {"ffn_norm", "model.layers.{}.pre_feedforward_layernorm"},
                                    {"post_ffw_norm", "model.layers.{}.post_feedforward_layernorm"}});
  }
  for (Rule& rule : rules)
    if (rule.ours.ends_with("norm")) rule.change = Change::one_added;
  return rules;
}

std::vector<Rule> phi3_rules() {
  return with(llama_rules(Change::none, Change::none), {{"attn_qkv", "model.layers.{}.self_attn.qkv_proj"}});
}

std::vector<Rule> phi2_rules() {
  return {{"token_embd", "model.embed_tokens"},
          {"output_norm", "model.final_layernorm"},
          {"output", "lm_head"},
          {"attn_norm", "model.layers.{}.input_layernorm"},
          {"attn_qkv", "model.layers.{}.self_attn.*_proj", Change::fused_qkv},
          {"attn_q", "model.layers.{}.self_attn.q_proj"},
          {"attn_k", "model.layers.{}.self_attn.k_proj"},
          {"attn_v", "model.layers.{}.self_attn.v_proj"},
          {"attn_output", "model.layers.{}.self_attn.dense"},
          {"ffn_up", "model.layers.{}.mlp.fc1"},
          {"ffn_down", "model.layers.{}.mlp.fc2"}};
}

std::vector<Rule> gpt2_rules() {
  return {{"token_embd", "transformer.wte"},
          {"position_embd", "transformer.wpe"},
          {"output_norm", "transformer.ln_f"},
          {"output", "lm_head"},
          {"attn_norm", "transformer.h.{}.ln_1"},
          {"ffn_norm", "transformer.h.{}.ln_2"},
          {"attn_qkv", "transformer.h.{}.attn.c_attn", Change::transposed},
          {"attn_output", "transformer.h.{}.attn.c_proj", Change::transposed},
          {"ffn_up", "transformer.h.{}.mlp.c_fc", Change::transposed},
          {"ffn_down", "transformer.h.{}.mlp.c_proj", Change::transposed}};
}

std::vector<Rule> gpt_neox_rules() {
  return {{"token_embd", "gpt_neox.embed_in"},
          {"output_norm", "gpt_neox.final_layer_norm"},
          {"output", "embed_out"},
          {"attn_norm", "gpt_neox.layers.{}.input_layernorm"},
          {"ffn_norm", "gpt_neox.layers.{}.post_attention_layernorm"},
          {"attn_qkv", "gpt_neox.layers.{}.attention.query_key_value", Change::parted_qkv},
          {"attn_output", "gpt_neox.layers.{}.attention.dense"},
          {"ffn_up", "gpt_neox.layers.{}.mlp.dense_h_to_4h"},
          {"ffn_down", "gpt_neox.layers.{}.mlp.dense_4h_to_h"}};
}

std::vector<Rule> bloom_rules() {
  return {{"token_embd", "transformer.word_embeddings"},
          {"token_embd_norm", "transformer.word_embeddings_layernorm"},
          {"output_norm", "transformer.ln_f"},
          {"output", "lm_head"},
          {"attn_norm", "transformer.h.{}.input_layernorm"},
          {"ffn_norm", "transformer.h.{}.post_attention_layernorm"},
          {"attn_qkv", "transformer.h.{}.self_attention.query_key_value", Change::parted_qkv},
          {"attn_output", "transformer.h.{}.self_attention.dense"},
          {"ffn_up", "transformer.h.{}.mlp.dense_h_to_4h"},
          {"ffn_down", "transformer.h.{}.mlp.dense_4h_to_h"}};
}

std::vector<Rule> falcon_rules(bool two_norms) {
  std::vector<Rule> rules = bloom_rules();
  std::erase_if(rules,
                [](const Rule& rule) { return rule.ours == "token_embd_norm" || rule.ours == "ffn_norm"; });
  if (!two_norms) return rules;
  std::erase_if(rules, [](const Rule& rule) { return rule.ours == "attn_norm"; });
  return with(std::move(rules),
              {{"attn_norm", "transformer.h.{}.ln_mlp"}, {"attn_norm_2", "transformer.h.{}.ln_attn"}});
}

std::vector<Rule> mpt_rules() {
  return {{"token_embd", "transformer.wte"},
          {"output_norm", "transformer.norm_f"},
          {"output", "lm_head"},
          {"attn_norm", "transformer.blocks.{}.norm_1"},
          {"ffn_norm", "transformer.blocks.{}.norm_2"},
          {"attn_qkv", "transformer.blocks.{}.attn.Wqkv"},
          {"attn_output", "transformer.blocks.{}.attn.out_proj"},
          {"ffn_up", "transformer.blocks.{}.ffn.up_proj"},
          {"ffn_down", "transformer.blocks.{}.ffn.down_proj"}};
}

std::vector<Rule> rules_of(const GgufKeys& keys) {
  const std::string& name = keys.architecture();
  if (name == "llama") return mixtral_and_llama_rules();
  if (name.starts_with("qwen")) return qwen_rules();
  if (name.starts_with("gemma")) return gemma_rules(name == "gemma2");
  if (name == "phi2") return phi2_rules();
  if (name == "phi3") {
    std::vector<Rule> rules = phi3_rules();
    for (Rule& rule : rules)
      if (rule.ours == "ffn_up") rule.theirs = "model.layers.{}.mlp.gate_up_proj";
    return rules;
  }
  if (name == "gpt2") return gpt2_rules();
  if (name == "gptneox") return gpt_neox_rules();
  if (name == "bloom") return bloom_rules();
  if (name == "falcon") return falcon_rules(keys.has_tensor("blk.0.attn_norm_2.weight"));
  if (name == "mpt") return mpt_rules();
  return {};
}

// "blk.3.attn_q.weight" in parts; "token_embd.weight" has no block.
struct TensorName {
  std::string block, stem, ending;
};
TensorName taken_apart(const std::string& name) {
  TensorName parts;
  std::string_view rest = name;
  if (rest.starts_with("blk.")) {
    const size_t end = rest.find('.', 4);
    if (end == std::string_view::npos) return {"", name, ""};
    parts.block = rest.substr(4, end - 4);
    rest.remove_prefix(end + 1);
  }
  const size_t dot = rest.rfind('.');
  parts.stem = rest.substr(0, dot);
  parts.ending = dot == std::string_view::npos ? "" : rest.substr(dot);
  return parts;
}

std::string replaced(std::string text, std::string_view mark, const std::string& by) {
  const size_t at = text.find(mark);
  return at == std::string::npos ? text : text.replace(at, mark.size(), by);
}

class Renaming {
 public:
  explicit Renaming(const GgufFile& file) : file_(file), keys_(file), rules_(rules_of(keys_)) {
    heads_ = keys_.same_in_all_layers("attention.head_count");
    kv_heads_ = keys_.same_in_all_layers("attention.head_count_kv", heads_);
    require(heads_ > 0 && kv_heads_ > 0 && heads_ % kv_heads_ == 0 && heads_ <= most_heads, file_.name(),
            ": ", heads_, " query heads cannot be shared out over ", kv_heads_, " KV heads");
  }

  StoredTensors run() {
    for (const auto& [name, tensor] : file_.tensors())
      if (!is_factor(name)) rename(name, tensor);
    return std::move(renamed_);
  }

 private:
  // Those are in the configuration.
  static bool is_factor(const std::string& name) {
    return name == "rope_freqs.weight" || name == "rope_factors_long.weight" ||
           name == "rope_factors_short.weight";
  }

  void keep(const std::string& name, StoredTensor tensor) {
    require(renamed_.emplace(name, std::move(tensor)).second, file_.name(), ": ", name, " stands twice");
  }

  void rename(const std::string& name, const StoredTensor& tensor) {
    const TensorName parts = taken_apart(name);
    const auto rule = std::find_if(rules_.begin(), rules_.end(), [&](const Rule& known) {
      return known.ours == parts.stem &&
             (known.theirs.find("{}") != std::string_view::npos) != parts.block.empty();
    });
    if (rule == rules_.end()) return keep(name, tensor);
    const std::string theirs = replaced(std::string(rule->theirs), "{}", parts.block) + parts.ending;
    apply(*rule, theirs, tensor);
  }

  void apply(const Rule& rule, const std::string& theirs, StoredTensor tensor) {
    switch (rule.change) {
      case Change::stacked:
        return keep_parts(theirs, tensor, tensor.shape.empty() ? 0 : tensor.shape.front());
      case Change::fused_qkv:
        return keep_parts(theirs, tensor, 3);
      case Change::interleaved_query:
        tensor.row_order = interleaved(tensor, heads_, theirs);
        break;
      case Change::interleaved_key:
        tensor.row_order = interleaved(tensor, kv_heads_, theirs);
        break;
      case Change::parted_qkv:
        tensor.row_order = grouped(tensor, theirs);
        break;
      case Change::one_added:
        tensor.added = 1;
        break;
      case Change::transposed:
        tensor.transposed = tensor.shape.size() == 2;
        if (tensor.transposed) std::swap(tensor.shape[0], tensor.shape[1]);
        break;
      case Change::row_of_vector:
        if (tensor.shape.size() == 1) tensor.shape.insert(tensor.shape.begin(), 1);
        break;
      case Change::none:
        break;
    }
    keep(theirs, std::move(tensor));
  }

  // Equal parts along the first dimension: experts lose it, projections have a share of it.
  void keep_parts(const std::string& theirs, const StoredTensor& whole, int64_t parts) {
    const int64_t rows = rows_of(whole, theirs);
    require(parts > 0 && rows % parts == 0, file_.name(), ": ", theirs,
            " cannot be taken apart: its shape is ", shape_text(whole.shape), ", expected ", parts,
            " equal parts");
    const bool experts = theirs.find("<>") != std::string::npos;
    require(!experts || whole.shape.size() == 3, file_.name(), ": ", theirs, " has the shape ",
            shape_text(whole.shape), "; expected one matrix for each expert");
    const size_t bytes = whole.bytes.size() / static_cast<size_t>(parts);
    for (int64_t i = 0; i < parts; ++i) {
      StoredTensor part = whole;
      part.bytes = whole.bytes.subspan(static_cast<size_t>(i) * bytes, bytes);
      if (experts)
        part.shape.erase(part.shape.begin());
      else
        part.shape.front() = rows / parts;
      keep(experts ? replaced(theirs, "<>", std::to_string(i))
                   : replaced(theirs, "*", std::string(1, "qkv"[i])),
           std::move(part));
    }
  }

  // A shape with a zero may claim any number of rows without any bytes behind it.
  int64_t rows_of(const StoredTensor& tensor, const std::string& name) const {
    require(!tensor.shape.empty() && static_cast<uint64_t>(tensor.shape.front()) <= tensor.bytes.size(),
            file_.name(), ": ", name, " has the shape ", shape_text(tensor.shape),
            ", which cannot be taken apart");
    return tensor.shape.front();
  }

  std::vector<int64_t> interleaved(const StoredTensor& tensor, int64_t heads, const std::string& name) const {
    const int64_t rows = rows_of(tensor, name);
    require(rows % heads == 0 && rows / heads % 2 == 0, file_.name(), ": ", name, " has ", rows,
            " rows, which are not shared out over ", heads, " heads of pairs of channels");
    const int64_t dim = rows / heads, half = dim / 2;
    std::vector<int64_t> order;
    order.reserve(static_cast<size_t>(rows));
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t c = 0; c < dim; ++c) order.push_back(head * dim + c % half * 2 + c / half);
    return order;
  }

  std::vector<int64_t> grouped(const StoredTensor& tensor, const std::string& name) const {
    const int64_t rows = rows_of(tensor, name), all = heads_ + 2 * kv_heads_;
    require(rows % all == 0, file_.name(), ": ", name, " has ", rows, " rows, which are not shared out over ",
            heads_, " query and ", kv_heads_, " KV heads");
    if (kv_heads_ == 1) return {};
    const int64_t dim = rows / all, queries = heads_ / kv_heads_;
    std::vector<int64_t> order;
    order.reserve(static_cast<size_t>(rows));
    for (int64_t group = 0; group < kv_heads_; ++group) {
      for (int64_t member = 0; member < queries + 2; ++member) {
        const int64_t head = member < queries    ? group * queries + member
                             : member == queries ? heads_ + group
                                                 : heads_ + kv_heads_ + group;
        for (int64_t c = 0; c < dim; ++c) order.push_back(head * dim + c);
      }
    }
    return order;
  }

  const GgufFile& file_;
  GgufKeys keys_;
  std::vector<Rule> rules_;
  int64_t heads_ = 0, kv_heads_ = 0;
  StoredTensors renamed_;
};

}  // namespace

StoredTensors gguf_tensors(const GgufFile& file) {
  return Renaming(file).run();
}

}  // namespace kvviz
