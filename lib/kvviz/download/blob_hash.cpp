// SPDX-License-Identifier: MIT
#include "kvviz/download/blob_hash.hpp"

#include <openssl/evp.h>

#include <array>
#include <stdexcept>

#include "kvviz/core/error.hpp"

namespace kvviz::hub {
namespace {

void demand(bool ok) {
  if (!ok) throw std::runtime_error("OpenSSL cannot compute a hash");
}

}  // namespace

struct BlobHash::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  Context() { demand(md != nullptr); }
  ~Context() { EVP_MD_CTX_free(md); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

BlobHash::BlobHash(const std::string& expected, int64_t size) : context_(std::make_unique<Context>()) {
  const bool git = expected.size() == 40;
  demand(EVP_DigestInit_ex(context_->md, git ? EVP_sha1() : EVP_sha256(), nullptr) == 1);
  if (git) add(cat("blob ", size, '\0'));
}

BlobHash::~BlobHash() = default;

void BlobHash::add(std::string_view bytes) {
  demand(EVP_DigestUpdate(context_->md, bytes.data(), bytes.size()) == 1);
}

std::string BlobHash::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned int size = 0;
  demand(EVP_DigestFinal_ex(context_->md, bytes.data(), &size) == 1);
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += {digits[bytes[i] >> 4], digits[bytes[i] & 15]};
  return text;
}

bool is_blob_hash(const std::string& text) {
  return (text.size() == 40 || text.size() == 64) &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace kvviz::hub
