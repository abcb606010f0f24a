// SPDX-License-Identifier: MIT
#include "kvviz/core/sha256.hpp"

#include <openssl/evp.h>

#include <array>
#include <fstream>
#include <memory>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    check(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  void add(const void* data, size_t size) { check(EVP_DigestUpdate(context_.get(), data, size) == 1); }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned int size = 0;
    check(EVP_DigestFinal_ex(context_.get(), bytes.data(), &size) == 1);
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
      text += digits[bytes[i] >> 4];
      text += digits[bytes[i] & 15];
    }
    return text;
  }

 private:
  static void check(bool ok) {
    if (!ok) throw std::logic_error("SHA-256 failed inside OpenSSL");
  }
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string sha256(std::string_view bytes) {
  Digest digest;
  digest.add(bytes.data(), bytes.size());
  return digest.hex();
}

std::string sha256_files(const std::vector<std::filesystem::path>& files) {
  Digest digest;
  std::vector<char> block(1 << 20);
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    require(in.good(), "cannot read ", file.string());
    while (in) {
      in.read(block.data(), static_cast<std::streamsize>(block.size()));
      digest.add(block.data(), static_cast<size_t>(in.gcount()));
    }
    require(in.eof(), "reading ", file.string(), " stopped before its end");
  }
  return digest.hex();
}

}  // namespace kvviz
