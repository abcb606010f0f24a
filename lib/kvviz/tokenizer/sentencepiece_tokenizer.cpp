// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/sentencepiece_tokenizer.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/tokenizer/added_tokens.hpp"
#include "kvviz/tokenizer/pipeline_tokenizer.hpp"
#include "kvviz/tokenizer/sentencepiece_api.hpp"
#include "kvviz/tokenizer/sentencepiece_check.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"
#include "kvviz/tokenizer/utf8.hpp"
#include "kvviz/tokenizer/vocabulary.hpp"

namespace kvviz {
namespace {

/// A buffer of the library, released at the end of its scope.
class Buffer {
 public:
  explicit Buffer(const KvvizSpApi& api) : api_(api) {}
  ~Buffer() { api_.release(buffer_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  KvvizSpBuffer* out() { return &buffer_; }
  std::string_view text() const { return {static_cast<const char*>(buffer_.data), buffer_.size}; }

 private:
  const KvvizSpApi& api_;
  KvvizSpBuffer buffer_{};
};

class Model {
 public:
  Model(std::string_view bytes, const std::string& name, const KvvizSpApi& api) : api_(api) {
    check(bytes, name);
    Buffer error(api);
    model_ = api.open(bytes.data(), bytes.size(), error.out());
    require(model_ != nullptr, "[tokenizer] ", name, " is not a SentencePiece model: ", error.text());
  }
  ~Model() {
    if (model_ != nullptr) api_.close(model_);
  }
  Model(Model&& other) noexcept : api_(other.api_), model_(std::exchange(other.model_, nullptr)) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  int32_t size() const { return api_.size(model_); }
  std::optional<int32_t> bos() const { return known(api_.bos(model_)); }
  std::optional<int32_t> eos() const { return known(api_.eos(model_)); }

  std::string_view piece(int32_t id, KvvizSpKind& kind) const {
    size_t size = 0;
    const char* text = api_.piece(model_, id, &size, &kind);
    return {text, size};
  }

  std::vector<int32_t> encode(std::string_view text) const {
    Buffer ids(api_);
    Buffer error(api_);
    const int failed = api_.encode(model_, text.data(), text.size(), ids.out(), error.out());
    require(failed == 0, "[tokenizer] SentencePiece cannot encode the text: ", error.text());
    std::vector<int32_t> result(ids.text().size() / sizeof(int32_t));
    if (!result.empty()) std::memcpy(result.data(), ids.text().data(), ids.text().size());
    return result;
  }

  std::string decode(const std::vector<int32_t>& ids) const {
    Buffer text(api_);
    Buffer error(api_);
    const int failed = api_.decode(model_, ids.data(), ids.size(), text.out(), error.out());
    require(failed == 0, "[tokenizer] SentencePiece cannot decode the ids: ", error.text());
    return std::string(text.text());
  }

 private:
  static void check(std::string_view bytes, const std::string& name) {
    try {
      check_sentencepiece(bytes);
    } catch (const DataError& error) {
      throw DataError(cat("[tokenizer] ", name, " is not a SentencePiece model: ", error.what()));
    }
  }

  static std::optional<int32_t> known(int32_t id) { return id < 0 ? std::nullopt : std::optional(id); }

  const KvvizSpApi& api_;
  KvvizSpModel* model_;
};

// SentencePiece writes a byte as <0xE4> and a space as U+2581.
Token token_of(std::string_view piece, KvvizSpKind kind) {
  if (const auto byte = fallback_byte(piece); kind == KVVIZ_SP_BYTE && byte)
    return {Token::Kind::text, std::string{static_cast<char>(*byte)}};
  if (kind != KVVIZ_SP_TEXT) return {Token::Kind::special, std::string(piece)};
  return {Token::Kind::text, replaced(piece, metaspace, " ")};
}

// Of a message that stands twice in another the fields are merged, and the later ones count: add_dummy_prefix
// is field 3 of normalizer_spec, and that field 3 of the model.
std::string without_prefix(std::string model) {
  return model.append({'\x1A', '\x02', '\x18', '\x00'});
}

/// A model with what transformers adds to it: tokens found in a text, and where a blank is put before it.
/// `legacy` puts it before every part that is left of a text, and looks for tokens that are normalised with
/// their blank; else it stands before the text alone, unless that begins with one.
class Encoder {
 public:
  Encoder(const std::string& bytes, const std::string& name, const TokenizerConfig& config)
      : model_(config.adds_prefix_space == false ? without_prefix(bytes) : bytes, name, sentencepiece_api()),
        legacy_(config.legacy) {
    if (legacy_ && std::ranges::all_of(config.added, &AddedToken::special)) return;
    bare_.emplace(without_prefix(bytes), name, sentencepiece_api());
    const bool prefixed = model_.encode("a") != bare_->encode("a");
    std::vector<AddedToken> raw, normal;
    for (AddedToken token : config.added) {
      const bool with_blank = legacy_ && prefixed && token.normalized;
      if (with_blank) token.text.insert(0, " ");
      (with_blank ? normal : raw).push_back(std::move(token));
    }
    raw_tokens_ = AddedTokenFinder(std::move(raw));
    normal_tokens_ = AddedTokenFinder(std::move(normal));
  }

  const Model& model() const { return model_; }

  std::vector<int32_t> encode(std::string_view text) const {
    if (!bare_) return model_.encode(text);
    std::vector<int32_t> ids;
    for (const AddedTokenFinder::Part& part : raw_tokens_.split(text)) {
      const bool first = part.text.data() == text.data();
      const bool blank = part.text.starts_with(' ') || part.text.starts_with(metaspace);
      if (part.id)
        ids.push_back(*part.id);
      else if (legacy_)
        add(ids, with_normalised(part.text));
      else
        add(ids, (first && !blank ? model_ : *bare_).encode(part.text));
    }
    return ids;
  }

 private:
  static void add(std::vector<int32_t>& ids, const std::vector<int32_t>& more) {
    ids.insert(ids.end(), more.begin(), more.end());
  }

  std::vector<int32_t> with_normalised(std::string_view text) const {
    const std::string normal = cat(' ', text);
    const auto parts = normal_tokens_.split(normal);
    if (parts.size() == 1 && !parts.front().id) return model_.encode(text);
    std::vector<int32_t> ids;
    for (const AddedTokenFinder::Part& part : parts)
      add(ids, part.id ? std::vector{*part.id} : bare_->encode(part.text));
    return ids;
  }

  Model model_;
  bool legacy_;
  std::optional<Model> bare_;  ///< puts no blank before a text; where it is needed
  AddedTokenFinder raw_tokens_, normal_tokens_;
};

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(const std::string& bytes, const std::string& file, const TokenizerConfig& config,
                         std::string hash)
      : encoder_(bytes, file, config), model_(encoder_.model()), hash_(std::move(hash)) {
    size_ = model_.size();
    TextIds ids;
    for (int32_t id = 0; id < size_; ++id) {
      KvvizSpKind kind{};
      const std::string_view piece = model_.piece(id, kind);
      ids.emplace(piece, id);
      tokens_.push_back(token_of(piece, kind));
    }
    for (const AddedToken& token : config.added) add(token, ids);
    const auto id_of = [&](const std::string& name) { return find_id(ids, name); };
    ends_ = sequence_ends(config, {.bos = model_.bos(), .eos = model_.eos(), .adds_bos = true}, id_of);
  }

  std::vector<int32_t> encode(std::string_view text) const override {
    require_utf8(text);
    return encoder_.encode(text);
  }

  std::string decode(const std::vector<int32_t>& ids) const override {
    std::string text;
    std::vector<int32_t> run;
    const auto flush = [&] {
      if (!run.empty()) text += model_.decode(run);
      run.clear();
    };
    for (const int32_t id : ids) {
      require(id >= 0, "[tokenizer] token id ", id, " is negative");
      if (id >= vocabulary() || tokens_[static_cast<size_t>(id)].kind == Token::Kind::missing) continue;
      const Token& token = tokens_[static_cast<size_t>(id)];
      if (id < size_) {
        run.push_back(id);
      } else if (token.kind == Token::Kind::text) {
        flush();
        text += token.bytes;
      }
    }
    flush();
    return text;
  }

  std::string piece(int32_t id) const override {
    if (id < 0 || id >= vocabulary()) return cat("<id ", id, '>');
    const Token& token = tokens_[static_cast<size_t>(id)];
    return token.kind == Token::Kind::missing ? cat("<id ", id, '>') : to_utf8(token.bytes, BadBytes::hex);
  }

  int32_t vocabulary() const override { return static_cast<int32_t>(tokens_.size()); }
  std::optional<int32_t> bos() const override { return ends_.bos; }
  std::optional<int32_t> eos() const override { return ends_.eos; }
  bool adds_bos() const override { return ends_.adds_bos; }
  const std::string& hash() const override { return hash_; }

 private:
  // An added token inside the model's own range only repeats what the model says.
  void add(const AddedToken& token, TextIds& ids) {
    check_token_id(token.id, token.text);
    if (token.id < size_) return;
    if (token.id >= vocabulary()) tokens_.resize(static_cast<size_t>(token.id) + 1);
    tokens_[static_cast<size_t>(token.id)] = {token.special ? Token::Kind::special : Token::Kind::text,
                                              token.text};
    ids.emplace(token.text, token.id);
  }

  Encoder encoder_;
  const Model& model_;
  std::vector<Token> tokens_;  ///< by id: the model's, then the added ones
  int32_t size_ = 0;           ///< of the model alone
  SequenceEnds ends_;
  std::string hash_;
};

}  // namespace

std::unique_ptr<Tokenizer> open_sentencepiece(const std::filesystem::path& file,
                                              const TokenizerConfig& config) {
  return std::make_unique<SentencePieceTokenizer>(read_file(file), file.string(), config,
                                                  hash_of({file}, config));
}

std::unique_ptr<Tokenizer> parse_sentencepiece(std::string_view bytes, const TokenizerConfig& config) {
  return std::make_unique<SentencePieceTokenizer>(std::string(bytes), "tokenizer.model", config,
                                                  sha256(bytes));
}

}  // namespace kvviz
