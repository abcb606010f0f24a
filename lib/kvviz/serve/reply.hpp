// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "kvviz/serve/http_error.hpp"

namespace kvviz::serve {

/// Who waits for the end of long work. Any thread may tell it something.
class Client {
 public:
  virtual ~Client() = default;
  /// `total` 0: nobody knows. Throws Gone.
  virtual void progress(const std::string& what, int64_t done, int64_t total) = 0;
  /// Between parts of the work. Throws Gone when the client has left. Costs a system call.
  virtual void keep() = 0;
};

/// Server-sent events to one client; progress() is the event `progress`. keep() sends a comment if nothing
/// was sent for some seconds.
class EventStream : public Client {
 public:
  /// Throws Gone.
  virtual void send(const std::string& event, const nlohmann::ordered_json& data) = 0;
  void progress(const std::string& what, int64_t done, int64_t total) override;
};

/// What writes the events of one answer; an exception becomes the event `error`.
using Events = std::function<void(EventStream&)>;

struct Bytes {
  std::string type, body;
};

/// What makes matrices() while its client hears how far it is: messages with `progress` go before the one
/// that it returns. An exception becomes a message with `error`.
using MatrixWork = std::function<Bytes(Client&)>;

struct Reply {
  std::variant<nlohmann::ordered_json, Bytes, Events, MatrixWork> content;
  int status = 200;
};

/// An array of a message of matrices, borrowed until the message is made.
struct MatrixArray {
  std::string name;
  std::vector<int64_t> shape;
  std::variant<std::span<const float>, std::span<const int32_t>, std::span<const uint8_t>> values;
};

/// The message of docs/http_api.md, "Matrices"; `header` gets the member `arrays`. Throws std::logic_error
/// where a shape is not that of its values.
Bytes matrices(nlohmann::ordered_json header, const std::vector<MatrixArray>& arrays);

constexpr const char* matrices_type = "application/vnd.kvviz.matrices";

/// {"what", "done", "total"}.
nlohmann::ordered_json progress_object(const std::string& what, int64_t done, int64_t total);

/// JSON has no NaN and no infinity.
nlohmann::ordered_json number_or_null(double number);

/// Base64 (RFC 4648, with padding).
std::string base64(std::span<const std::byte> bytes);

/// The object of errors: {"error": {"code", "message"}}; in an answer that has begun also "status". Bytes
/// that are not UTF-8 become U+FFFD.
nlohmann::ordered_json error_object(const std::string& code, const std::string& message);

/// What an exception means to a client: HttpError as it is; UsageError 400 bad_request; DataError 422
/// unusable; anything else 500 internal, without its words, which go to stderr.
struct Refusal {
  int status = 500;
  nlohmann::ordered_json body;
};
Refusal refusal_of(const std::exception_ptr& error);

}  // namespace kvviz::serve
