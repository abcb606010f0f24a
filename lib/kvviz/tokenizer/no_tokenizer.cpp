// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/no_tokenizer.hpp"

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

class NoTokenizer : public Tokenizer {
 public:
  NoTokenizer(std::string reason, int32_t vocabulary) : reason_(std::move(reason)), vocabulary_(vocabulary) {}

  std::vector<int32_t> encode(std::string_view) const override { throw DataError(reason_); }
  std::string decode(const std::vector<int32_t>& ids) const override {
    std::string text;
    for (const int32_t id : ids) text += piece(id);
    return text;
  }
  std::string piece(int32_t id) const override {
    require(id >= 0, "token id ", id, " is negative");
    return cat("<id ", id, '>');
  }
  int32_t vocabulary() const override { return vocabulary_; }
  std::optional<int32_t> bos() const override { return std::nullopt; }
  std::optional<int32_t> eos() const override { return std::nullopt; }
  bool adds_bos() const override { return false; }
  const std::string& hash() const override { return hash_; }

 private:
  std::string reason_, hash_;
  int32_t vocabulary_;
};

}  // namespace

std::unique_ptr<Tokenizer> no_tokenizer(std::string reason, int32_t vocabulary) {
  return std::make_unique<NoTokenizer>(std::move(reason), vocabulary);
}

}  // namespace kvviz
