// SPDX-License-Identifier: MIT
#include "kvviz/io/cache_file.hpp"

#include <limits>
#include <set>

#include "kvviz/core/error.hpp"
#include "kvviz/io/cache_format.hpp"
#include "kvviz/io/child_trial.hpp"
#include "kvviz/io/hdf5.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz::io {
namespace fs = std::filesystem;
namespace {

int small_count(const Hdf5File& file, const std::string& object, const std::string& attribute) {
  const int64_t value = file.int_attribute(object, attribute).value_or(0);
  require(value >= 0 && value <= std::numeric_limits<int>::max(), file.name(), ": ", object, ": attribute ",
          attribute, ": got ", value, "; expected 0 (none, or not known) or more");
  return static_cast<int>(value);
}

// What the layer says its numbers are; without a word, what they are stored as.
at::ScalarType recorded_dtype(const Hdf5File& file, const std::string& group, at::ScalarType stored) {
  const auto name = file.text_attribute(group, "dtype");
  if (!name) return stored;
  const std::string where = cat(file.name(), ": ", group, ": attribute dtype");
  const at::ScalarType recorded = value_of(dtype_names, *name, where);
  require(element_for(recorded) == element_for(stored), where, ": got ", *name, " but the data are ",
          dtype_name(stored));
  return recorded;
}

AttentionTerms read_terms(const Hdf5File& file, const std::string& group, int64_t query_heads) {
  AttentionTerms terms;
  const auto scale = file.real_attribute(group, "scale");
  require(scale.has_value(), file.name(), ": ", group,
          ": the attribute scale is missing beside the queries; expected the factor of q.k in the logits");
  terms.scale = *scale;
  terms.softcap = file.real_attribute(group, "softcap").value_or(0);
  const std::string slopes = group + "/alibi_slopes";
  if (file.has(slopes)) {
    const Hdf5File::Info info = file.info(slopes);
    const std::vector<int64_t> expected{query_heads};
    require(info.element == Element::f32 && info.shape == expected, file.name(), ": ", slopes, ": got ",
            info.type, ' ', shape_text(info.shape), "; expected f32 ", shape_text(expected),
            ", one for each query head");
    terms.alibi_slopes.resize(static_cast<size_t>(query_heads));
    file.read(slopes, Element::f32, terms.alibi_slopes.data());
  }
  validate(terms, query_heads, cat(file.name(), ": ", group));
  return terms;
}

// Of the losses, [tokens - 1].
void check_losses(const Hdf5File& file, const std::string& name, Element element, int64_t tokens) {
  const Hdf5File::Info info = file.info(name);
  const std::vector<int64_t> expected{tokens - 1};
  require(info.element == element && info.shape == expected && tokens > 1, file.name(), ": ", name, ": got ",
          info.type, ' ', shape_text(info.shape), "; expected ", element_name(element), ' ',
          shape_text(expected), ", one for every token but the first");
  file.check_stored(name, info);
}

}  // namespace

CacheFile::CacheFile(const fs::path& file) {
  if (!has_checksums(file)) {
    try_in_child(file, [&] {
      CacheFile trial;  // closed in the child: that is where damage to the memory shows
      trial.open(file);
      for (size_t i = 0; i < trial.layers_.size(); ++i) {
        trial.layer(i);
        if (trial.has_queries()) trial.queries(i);
      }
    });
  }
  open(file);
}

void CacheFile::open(const fs::path& file) {
  file_ = std::make_unique<Hdf5File>(Hdf5File::open(file));
  read_attributes();
  read_tokens();
  read_losses();
  read_layer_list();
}

CacheFile::~CacheFile() = default;

const std::string& CacheFile::name() const {
  return file_->name();
}

void CacheFile::read_attributes() {
  const auto schema = file_->int_attribute("/", "kvviz_schema");
  require(
      schema.has_value(), file_->name(),
      ": the root attribute kvviz_schema is missing, so this is not a cache file ",
      "of kvviz; kvviz capture writes one, and export_hf_cache.py (installed in share/kvviz/scripts) from a "
      "Hugging Face cache");
  require(*schema <= cache_schema, file_->name(), ": got schema ", *schema,
          "; this kvviz reads up to schema ", cache_schema, ": use a newer kvviz");
  require(*schema >= 1, file_->name(), ": got schema ", *schema, "; expected 1 to ", cache_schema);

  const auto text = [&](const char* name, const char* otherwise) {
    return file_->text_attribute("/", name).value_or(otherwise);
  };
  const auto where = [&](const char* name) { return cat(file_->name(), ": root attribute ", name); };
  const auto basis = file_->text_attribute("/", "key_basis");
  require(basis.has_value(), where("key_basis"), " is missing; expected pre_rope or post_rope");
  header_.basis = value_of(basis_names, *basis, where("key_basis"));
  header_.pairing = value_of(pairing_names, text("rope_pairing", "none"), where("rope_pairing"));
  header_.rotary_dim = small_count(*file_, "/", "rotary_dim");
  provenance_ = {.command = text("command", ""),
                 .model = text("model", ""),
                 .model_sha256 = text("model_sha256", ""),
                 .architecture = text("architecture", ""),
                 .bos = text("bos", "unknown"),
                 .created = text("created", ""),
                 .kvviz_version = text("kvviz_version", "")};
}

void CacheFile::read_tokens() {
  const auto numbers = [&](const std::string& name) {
    const Hdf5File::Info info = file_->info(name);
    require(info.shape.size() == 1 && info.element == Element::i32, file_->name(), ": ", name, ": got ",
            info.type, ' ', shape_text(info.shape), "; expected i32 [tokens]");
    file_->check_stored(name, info);
    std::vector<int32_t> values(static_cast<size_t>(info.shape[0]));
    if (!values.empty()) file_->read(name, Element::i32, values.data());
    for (size_t i = 0; i < values.size(); ++i)
      require(values[i] >= 0, file_->name(), ": ", name, ": got ", values[i], " at ", i,
              "; expected 0 or more");
    return values;
  };
  TokenInfo& tokens = header_.tokens;
  tokens.ids = numbers("/tokens/id");
  tokens.positions = numbers("/tokens/position");
  tokens.text.resize(tokens.ids.size());
  if (file_->has("/tokens/text")) tokens.text = file_->read_strings("/tokens/text");
  require(!tokens.ids.empty(), file_->name(), ": /tokens/id holds no token");
  require(tokens.positions.size() == tokens.ids.size() && tokens.text.size() == tokens.ids.size(),
          file_->name(), ": /tokens: got ", tokens.ids.size(), " ids, ", tokens.positions.size(),
          " positions and ", tokens.text.size(), " texts; expected as many of each");
  for (size_t i = 0; i < tokens.text.size(); ++i)
    require(is_utf8(tokens.text[i]), file_->name(), ": /tokens/text: the text of token ", i, " is not UTF-8");
}

void CacheFile::read_losses() {
  const std::string nll = "/tokens/nll", top1 = "/tokens/top1";
  const bool has_nll = file_->has(nll), has_top1 = file_->has(top1);
  require(has_nll == has_top1, file_->name(), ": ", has_nll ? nll : top1, " is there without ",
          has_nll ? top1 : nll, "; expected both or none");
  if (!has_nll) return;
  const auto tokens = static_cast<int64_t>(header_.tokens.ids.size());
  check_losses(*file_, nll, Element::f64, tokens);
  check_losses(*file_, top1, Element::i32, tokens);
  TokenLosses losses;
  losses.nll.resize(static_cast<size_t>(tokens - 1));
  std::vector<int32_t> hits(losses.nll.size());
  file_->read(nll, Element::f64, losses.nll.data());
  file_->read(top1, Element::i32, hits.data());
  for (const int32_t hit : hits) {
    require(hit == 0 || hit == 1, file_->name(), ": ", top1, ": got ", hit, "; expected 0 or 1");
    losses.top1.push_back(static_cast<unsigned char>(hit));
  }
  validate(losses, tokens, cat(file_->name(), ": /tokens"));
  losses_ = std::move(losses);
}

void CacheFile::read_query_info(size_t index, CacheLayerInfo& layer) const {
  const std::string group = layer_group(index), name = group + "/query";
  const bool first = index == 0;
  require(first || file_->has(name) == has_queries(), file_->name(), ": ", name,
          has_queries() ? " is missing" : " is there", ", but /layers/0000/query is ",
          has_queries() ? "there" : "not", "; expected the queries of all layers or of none");
  if (!file_->has(name)) return;
  require(header_.basis == KeyBasis::post_rope, file_->name(), ": ", name,
          ": the keys are before RoPE; attention takes queries and keys after it");
  const Stored query =
      check_tensor(*file_, name, static_cast<int64_t>(header_.tokens.ids.size()), "query_heads");
  const int64_t heads = query.shape[0], kv_heads = layer.key_shape[0];
  require(heads % kv_heads == 0, file_->name(), ": ", name, ": ", heads,
          " query heads cannot be shared out over ", kv_heads, " KV heads");
  require(heads == layer.query_heads, file_->name(), ": ", name, ": got ", heads,
          " heads, but the attribute query_heads of ", group, " is ", layer.query_heads);
  require(query.shape[2] == layer.key_shape[2], file_->name(), ": ", name, ": got shape ",
          shape_text(query.shape), ", but the key is ", shape_text(layer.key_shape),
          "; the head_dim must agree");
  require(element_for(query.dtype) == element_for(layer.dtype), file_->name(), ": ", group, ": the query is ",
          dtype_name(query.dtype), " but the key is ", dtype_name(layer.dtype));
  layer.query = LayerQueryInfo{query.shape, read_terms(*file_, group, heads)};
}

void CacheFile::read_layer_list() {
  const std::vector<std::string> names = file_->members("/layers");
  require(!names.empty(), file_->name(), ": /layers holds no layer");
  const std::set<std::string> known(names.begin(), names.end());
  const auto tokens = static_cast<int64_t>(header_.tokens.ids.size());
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string group = layer_group(i);
    require(known.contains(group.substr(8)), file_->name(), ": ", group, " is missing; /layers has ",
            names.size(), " members, from ", names.front(), " to ", names.back(),
            ", and layers count from 0000 without a gap");
    CacheLayerInfo layer;
    layer.query_heads = small_count(*file_, group, "query_heads");
    layer.window = small_count(*file_, group, "window");
    const Stored key = check_tensor(*file_, group + "/key", tokens);
    const Stored value = check_tensor(*file_, group + "/value", tokens);
    require(key.dtype == value.dtype, file_->name(), ": ", group, ": the key is ", dtype_name(key.dtype),
            " but the value is ", dtype_name(value.dtype));
    layer.dtype = recorded_dtype(*file_, group, key.dtype);
    layer.key_shape = key.shape;
    layer.value_shape = value.shape;
    require(layer.key_shape[0] == layer.value_shape[0], file_->name(), ": ", group, ": the key is ",
            shape_text(layer.key_shape), " but the value is ", shape_text(layer.value_shape),
            "; the numbers of heads must agree");
    require(layer.query_heads % layer.key_shape[0] == 0, file_->name(), ": ", group, ": ", layer.query_heads,
            " query heads cannot be shared out over ", layer.key_shape[0], " KV heads");
    require(header_.rotary_dim <= layer.key_shape[2] && header_.rotary_dim % 2 == 0, file_->name(), ": ",
            group, ": rotary_dim is ", header_.rotary_dim, "; expected an even number up to the head_dim ",
            layer.key_shape[2]);
    read_query_info(i, layer);
    layers_.push_back(std::move(layer));
  }
}

LayerKv CacheFile::layer(size_t index) const {
  require(index < layers_.size(), file_->name(), ": got layer ", index, "; the file has ", layers_.size());
  const CacheLayerInfo& info = layers_[index];
  const std::string group = layer_group(index);
  return {.key = read_tensor(*file_, group + "/key", info.key_shape, info.dtype),
          .value = read_tensor(*file_, group + "/value", info.value_shape, info.dtype),
          .query_heads = info.query_heads,
          .window = info.window};
}

bool CacheFile::has_queries() const {
  return !layers_.empty() && layers_.front().query.has_value();
}

LayerQueries CacheFile::queries(size_t index) const {
  require(index < layers_.size(), file_->name(), ": got layer ", index, "; the file has ", layers_.size());
  const CacheLayerInfo& info = layers_[index];
  require(info.query.has_value(), file_->name(), ": it holds keys and values, no queries; ",
          "capture again with --queries");
  return {.query = read_tensor(*file_, layer_group(index) + "/query", info.query->shape, info.dtype),
          .terms = info.query->terms};
}

CacheContents read_cache(const fs::path& file) {
  const CacheFile source(file);
  CacheContents contents{.cache = source.header(), .provenance = source.provenance()};
  for (size_t i = 0; i < source.layers().size(); ++i) contents.cache.layers.push_back(source.layer(i));
  validate(contents.cache.view(), file.string());
  return contents;
}

}  // namespace kvviz::io
