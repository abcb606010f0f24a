// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "kvviz/core/error.hpp"
#include "kvviz/download/url.hpp"
#include "kvviz/hub/environment.hpp"
#include "kvviz/hub/token.hpp"

namespace kvviz::hub {

/// No answer, or one that was cut: worth another try.
struct ConnectionError : DataError {
  using DataError::DataError;
};

/// The stop token was set.
struct Stopped : DataError {
  Stopped() : DataError("stopped") {}
};

struct HttpSettings {
  Url endpoint;  ///< its path stands before every path that is asked for
  Token token;   ///< goes to the endpoint's origin, nowhere else
  std::chrono::milliseconds connect_timeout{10000};
  std::chrono::seconds read_timeout{30};       ///< longest time with less than 100 bytes a second
  int tries = 6;                               ///< in a row without a byte gained
  int first_tries = 2;                         ///< as long as the hub has never answered
  std::chrono::milliseconds first_pause{500};  ///< between two tries; doubled each time
  std::chrono::seconds longest_pause{90};      ///< that a Retry-After may ask for
  std::string certificates;                    ///< file of authorities to trust; empty: the system's
};

/// The endpoint, HF_HUB_DOWNLOAD_TIMEOUT (seconds) and the file of certificates (SSL_CERT_FILE,
/// REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE). Proxies come from https_proxy, HTTPS_PROXY, http_proxy, ALL_PROXY and
/// NO_PROXY, which libcurl reads. Throws UsageError naming the variable that is no address or number.
HttpSettings http_settings(const Environment& environment, const Token& token);

struct Reply {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;                            ///< of get()
  Url url;                                     ///< that answered

  /// "" where there is none.
  std::string header(const std::string& lower_case_name) const;
};

/// What a download does with an answer that is 2xx. `start` sees the headers and may refuse with false or an
/// exception, as `part` may; what they throw leaves download().
struct Receiver {
  std::function<bool(const Reply& head)> start;
  std::function<bool(std::string_view bytes)> part;
};

/// Requests to a hub, through libcurl. Redirects are followed here, at most 10: https never leads to http,
/// and the token never leaves the endpoint's origin. Certificates are checked. Connections are kept. One
/// thread at a time.
class HttpClient {
 public:
  explicit HttpClient(HttpSettings settings, std::stop_token stop = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  const HttpSettings& settings() const { return settings_; }

  /// The body, of at most `most_bytes`. Answers 408, 429 and 5xx and lost connections are tried again, with
  /// pauses; the last answer is returned whatever its status. Throws ConnectionError when there was none, and
  /// DataError when it is larger, on a redirect that may not be followed, and on a bad certificate.
  Reply get(const std::string& target, size_t most_bytes);

  /// The headers of a file. Redirects are followed within the endpoint's origin; one that leads elsewhere (to
  /// the storage of large files) is returned as the answer. Tried again as get().
  Reply head(const std::string& target);

  /// One try to read a file from `first_byte` on (a Range where it is not 0). Answers other than 2xx are
  /// returned without their body. Throws ConnectionError when the connection is cut.
  Reply download(const std::string& target, int64_t first_byte, const Receiver& receiver);

  /// Waits before try `attempt` (1, 2, ...): what the answer's Retry-After asks for, or first_pause doubled
  /// each time. Throws DataError when that is longer than longest_pause, Stopped when stopped.
  void pause(int attempt, const Reply* reply) const;

  /// Throws Stopped when the stop token is set.
  void check_stop() const;

 private:
  struct Request;
  struct Handle;
  Reply exchange(const Request& request);
  Reply follow(Request request, bool same_origin);
  template <class Once>
  Reply retried(Once once);

  HttpSettings settings_;
  std::stop_token stop_;
  std::unique_ptr<Handle> handle_;
  bool answered_ = false;
};

/// 408, 429, 500, 502, 503, 504: another try may be answered.
bool is_passing(int status);

}  // namespace kvviz::hub
