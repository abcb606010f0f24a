// SPDX-License-Identifier: MIT
#include "kvviz/serve/reply.hpp"

#include <openssl/evp.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "kvviz/serve/http_error.hpp"

namespace kvviz::serve {
namespace {

static_assert(std::endian::native == std::endian::little, "messages are little-endian");

constexpr size_t alignment = 8;

struct ArrayBytes {
  const char* dtype;
  std::span<const std::byte> bytes;
  size_t count;
};

ArrayBytes bytes_of(const MatrixArray& array) {
  struct Visit {
    ArrayBytes operator()(std::span<const float> v) const { return {"float32", std::as_bytes(v), v.size()}; }
    ArrayBytes operator()(std::span<const int32_t> v) const { return {"int32", std::as_bytes(v), v.size()}; }
    ArrayBytes operator()(std::span<const uint8_t> v) const { return {"uint8", std::as_bytes(v), v.size()}; }
  };
  return std::visit(Visit{}, array.values);
}

size_t padded(size_t size) {
  return (size + alignment - 1) / alignment * alignment;
}

}  // namespace

Bytes matrices(nlohmann::ordered_json header, const std::vector<MatrixArray>& arrays) {
  auto& list = header["arrays"] = nlohmann::ordered_json::array();
  size_t payload = 0;
  for (const MatrixArray& array : arrays) {
    const ArrayBytes raw = bytes_of(array);
    const int64_t count =
        std::accumulate(array.shape.begin(), array.shape.end(), int64_t{1}, std::multiplies{});
    require<std::logic_error>(count == static_cast<int64_t>(raw.count), array.name, ": the shape holds ",
                              count, " values, there are ", raw.count);
    list.push_back({{"name", array.name}, {"dtype", raw.dtype}, {"shape", array.shape}});
    payload += padded(raw.bytes.size());
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  constexpr size_t prefix = 8;
  text.resize(padded(prefix + text.size()) - prefix, ' ');
  const auto length = static_cast<uint32_t>(text.size());
  std::string body;
  body.reserve(prefix + text.size() + payload);
  body += "KVM1";
  body.append(reinterpret_cast<const char*>(&length), sizeof length);
  body += text;
  for (const MatrixArray& array : arrays) {
    const auto raw = bytes_of(array).bytes;
    body.append(reinterpret_cast<const char*>(raw.data()), raw.size());
    body.resize(padded(body.size()), '\0');
  }
  return {matrices_type, std::move(body)};
}

nlohmann::ordered_json progress_object(const std::string& what, int64_t done, int64_t total) {
  return {{"what", what}, {"done", done}, {"total", total}};
}

void EventStream::progress(const std::string& what, int64_t done, int64_t total) {
  send("progress", progress_object(what, done, total));
}

nlohmann::ordered_json number_or_null(double number) {
  return std::isfinite(number) ? nlohmann::ordered_json(number) : nlohmann::ordered_json(nullptr);
}

std::string base64(std::span<const std::byte> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(length));
  return text;
}

nlohmann::ordered_json error_object(const std::string& code, const std::string& message) {
  return {{"error", {{"code", code}, {"message", message}}}};
}

Refusal refusal_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const HttpError& e) {
    return {e.status, error_object(e.code, e.what())};
  } catch (const UsageError& e) {
    return {400, error_object("bad_request", e.what())};
  } catch (const DataError& e) {
    return {422, error_object("unusable", e.what())};
  } catch (const std::exception& e) {
    std::fprintf(stderr, "kvviz serve: internal error (a bug): %s\n", e.what());
  } catch (...) {
    std::fprintf(stderr, "kvviz serve: internal error (a bug)\n");
  }
  return {500, error_object("internal", "a bug of kvviz; what went wrong stands where the server runs")};
}

}  // namespace kvviz::serve
