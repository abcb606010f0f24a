// SPDX-License-Identifier: MIT
#include "kvviz/io/cache_file.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/version.hpp"
#include "kvviz/io/child_trial.hpp"
#include "kvviz/io/hdf5.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz::io {
namespace fs = std::filesystem;
namespace {

template <class Value>
struct Name {
  Value value;
  const char* name;
};
constexpr std::array<Name<KeyBasis>, 2> basis_names = {
    {{KeyBasis::pre_rope, "pre_rope"}, {KeyBasis::post_rope, "post_rope"}}};
constexpr std::array<Name<RopePairing>, 3> pairing_names = {
    {{RopePairing::none, "none"}, {RopePairing::half, "half"}, {RopePairing::interleaved, "interleaved"}}};
constexpr std::array<Name<at::ScalarType>, 3> dtype_names = {
    {{at::kFloat, "f32"}, {at::kHalf, "f16"}, {at::kBFloat16, "bf16"}}};

template <class Names, class Value>
const char* name_of(const Names& names, Value value) {
  return std::find_if(names.begin(), names.end(), [&](const auto& n) { return n.value == value; })->name;
}

template <class Names>
auto value_of(const Names& names, const std::string& name, const std::string& where) {
  const auto found = std::find_if(names.begin(), names.end(), [&](const auto& n) { return n.name == name; });
  if (found != names.end()) return found->value;
  std::string known;
  for (const auto& n : names) known += cat(known.empty() ? "" : ", ", n.name);
  throw DataError(cat(where, ": got \"", name, "\"; expected one of ", known));
}

std::string layer_group(size_t index) {
  return fmt::format("/layers/{:04}", index);
}

Element element_for(at::ScalarType dtype) {
  return dtype == at::kHalf ? Element::f16 : Element::f32;
}

void write_tensor(Hdf5File& out, const std::string& name, const at::Tensor& tensor, int gzip) {
  const at::Tensor stored =
      (tensor.scalar_type() == at::kBFloat16 ? tensor.to(at::kFloat) : tensor).contiguous();
  const auto shape = stored.sizes();
  out.write(name, {shape.data(), shape.size()}, element_for(stored.scalar_type()), stored.data_ptr(),
            {.chunk = {1, shape[1], shape[2]}, .gzip = gzip});
}

void write_tokens(Hdf5File& out, const TokenInfo& tokens, int gzip) {
  const auto count = static_cast<int64_t>(tokens.ids.size());
  out.make_group("/tokens");
  out.write("/tokens/id", {&count, 1}, Element::i32, tokens.ids.data(), {.chunk = {}, .gzip = gzip});
  out.write("/tokens/position", {&count, 1}, Element::i32, tokens.positions.data(),
            {.chunk = {}, .gzip = gzip});
  out.write_strings("/tokens/text", tokens.text);
}

std::string common_dtype(const KvView& cache) {
  const auto first = cache.layers.front().key.scalar_type();
  const bool same = std::all_of(cache.layers.begin(), cache.layers.end(),
                                [&](const LayerKv& layer) { return layer.key.scalar_type() == first; });
  return same ? dtype_name(first) : "mixed";
}

bool is_utf8(const std::string& text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t code = 0;
    const utf8proc_ssize_t used = utf8proc_iterate(bytes, left, &code);
    if (used <= 0) return false;
    bytes += used;
    left -= used;
  }
  return true;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t n : shape) text += cat(text.empty() ? "" : ", ", n);
  return cat('[', text, ']');
}

int small_count(const Hdf5File& file, const std::string& object, const std::string& attribute) {
  const int64_t value = file.int_attribute(object, attribute).value_or(0);
  require(value >= 0 && value <= std::numeric_limits<int>::max(), file.name(), ": ", object, ": attribute ",
          attribute, ": got ", value, "; expected 0 (none, or not known) or more");
  return static_cast<int>(value);
}

struct Stored {
  std::vector<int64_t> shape;
  at::ScalarType dtype;
};

Stored check_tensor(const Hdf5File& file, const std::string& name, int64_t tokens) {
  const Hdf5File::Info info = file.info(name);
  const auto where = [&] { return cat(file.name(), ": ", name, ": "); };
  require(info.element == Element::f32 || info.element == Element::f16, where(), "got ", info.type,
          "; expected f32 or f16");
  require(info.shape.size() == 3, where(), "got shape ", shape_text(info.shape),
          "; expected [kv_heads, tokens, head_dim]");
  require(info.shape[1] == tokens, where(), "got shape ", shape_text(info.shape), ", but /tokens/id has ",
          tokens, " tokens; expected [kv_heads, ", tokens, ", head_dim]");
  require(info.count() > 0, where(), "got shape ", shape_text(info.shape), "; no size may be 0");
  file.check_stored(name, info);
  return {info.shape, info.element == Element::f16 ? at::kHalf : at::kFloat};
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

at::Tensor read_tensor(const Hdf5File& file, const std::string& name, const std::vector<int64_t>& shape,
                       at::ScalarType dtype) {
  const at::ScalarType stored = dtype == at::kBFloat16 ? at::kFloat : dtype;
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(stored));
  file.read(name, element_for(dtype), tensor.data_ptr());
  if (dtype != at::kBFloat16) return tensor;

  // bf16 is the upper half of f32, so narrowing by hand is exact, NaN payloads included.
  at::Tensor narrow = at::empty(shape, at::TensorOptions().dtype(at::kBFloat16));
  const auto* from = static_cast<const uint32_t*>(tensor.data_ptr());
  auto* to = static_cast<uint16_t*>(narrow.data_ptr());
  uint32_t lost = 0;
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    to[i] = static_cast<uint16_t>(from[i] >> 16);
    lost |= from[i] & 0xffffU;
  }
  require(lost == 0, file.name(), ": ", name, ": it is recorded as bf16 but holds values that bf16 cannot; ",
          "record it as f32, or round it to bf16 first");
  return narrow;
}

}  // namespace

void write_cache(const fs::path& file, const KvView& cache, const CacheProvenance& provenance,
                 const CacheWriteOptions& options) {
  require<UsageError>(options.gzip >= 0 && options.gzip <= 9, "compression ", options.gzip,
                      ": expected 0 to 9");
  validate(cache, "the cache for " + file.string());
  for (size_t i = 0; i < cache.tokens->text.size(); ++i)
    require(is_utf8(cache.tokens->text[i]), "the text of token ", i, " is not UTF-8");

  AtomicFile target(file);
  Hdf5File out = Hdf5File::create(target.temporary(), file);
  out.write_attribute("/", "kvviz_schema", int64_t{cache_schema});
  out.write_attribute("/", "kvviz_version", version);
  out.write_attribute("/", "command", provenance.command);
  out.write_attribute("/", "model", provenance.model);
  out.write_attribute("/", "model_sha256", provenance.model_sha256);
  out.write_attribute("/", "architecture", provenance.architecture);
  out.write_attribute("/", "dtype", common_dtype(cache));
  out.write_attribute("/", "key_basis", name_of(basis_names, cache.basis));
  out.write_attribute("/", "rope_pairing", name_of(pairing_names, cache.pairing));
  out.write_attribute("/", "rotary_dim", int64_t{cache.rotary_dim});
  out.write_attribute("/", "bos", provenance.bos);
  out.write_attribute("/", "created", provenance.created);
  write_tokens(out, *cache.tokens, options.gzip);
  for (size_t i = 0; i < cache.layers.size(); ++i) {
    const LayerKv& layer = cache.layers[i];
    const std::string group = layer_group(i);
    out.make_group(group);
    out.write_attribute(group, "query_heads", int64_t{layer.query_heads});
    out.write_attribute(group, "window", int64_t{layer.window});
    out.write_attribute(group, "dtype", name_of(dtype_names, layer.key.scalar_type()));
    write_tensor(out, group + "/key", layer.key, options.gzip);
    write_tensor(out, group + "/value", layer.value, options.gzip);
  }
  out.close();
  target.commit();
}

CacheFile::CacheFile(const fs::path& file) {
  if (!has_checksums(file)) {
    try_in_child(file, [&] {
      CacheFile trial;  // closed in the child: that is where damage to the memory shows
      trial.open(file);
      for (size_t i = 0; i < trial.layers_.size(); ++i) trial.layer(i);
    });
  }
  open(file);
}

void CacheFile::open(const fs::path& file) {
  file_ = std::make_unique<Hdf5File>(Hdf5File::open(file));
  read_attributes();
  read_tokens();
  read_layer_list();
}

CacheFile::~CacheFile() = default;

void CacheFile::read_attributes() {
  const auto schema = file_->int_attribute("/", "kvviz_schema");
  require(schema.has_value(), file_->name(),
          ": the root attribute kvviz_schema is missing, so this is not a cache file ",
          "of kvviz; export_hf_cache.py in scripts/ writes one from a Hugging Face cache");
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

CacheContents read_cache(const fs::path& file) {
  const CacheFile source(file);
  CacheContents contents{.cache = source.header(), .provenance = source.provenance()};
  for (size_t i = 0; i < source.layers().size(); ++i) contents.cache.layers.push_back(source.layer(i));
  validate(contents.cache.view(), file.string());
  return contents;
}

}  // namespace kvviz::io
