// SPDX-License-Identifier: MIT
#include "kvviz/download/http.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include "kvviz/core/trimmed.hpp"
#include "kvviz/core/version.hpp"

namespace kvviz::hub {
namespace {

constexpr int most_redirects = 10;
constexpr size_t most_dropped_bytes = size_t{1} << 20;  // of the body of an answer that is not wanted
constexpr size_t most_headers = 1000;

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

std::optional<int64_t> parse_seconds(const std::string& text) {
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  const bool whole = error == std::errc{} && end == text.data() + text.size() && seconds >= 0;
  return whole ? std::optional(seconds) : std::nullopt;
}

Url on_endpoint(const Url& endpoint, const std::string& target) {
  Url url = endpoint;
  url.target = (endpoint.target == "/" ? "" : endpoint.target) + target;
  return url;
}

struct ListOfHeaders {
  curl_slist* first = nullptr;
  ListOfHeaders() = default;
  ~ListOfHeaders() { curl_slist_free_all(first); }
  ListOfHeaders(const ListOfHeaders&) = delete;
  ListOfHeaders& operator=(const ListOfHeaders&) = delete;
  void add(const std::string& line) { first = curl_slist_append(first, line.c_str()); }
};

// What one exchange has seen so far. Exceptions must not pass through libcurl: they are kept.
struct Exchange {
  const Receiver* receiver = nullptr;
  std::stop_token stop;
  Reply reply;
  size_t dropped = 0;
  bool body_begun = false, refused = false;
  std::exception_ptr thrown;

  bool is_wanted() const { return reply.status >= 200 && reply.status < 300 && receiver->part; }

  void read_header(std::string_view line) {
    if (line.starts_with("HTTP/")) {  // of the answer itself: those before were 1xx
      const size_t space = line.find(' ');
      reply.headers.clear();
      reply.status = 0;
      if (space != std::string_view::npos)
        std::from_chars(line.data() + space + 1, line.data() + line.size(), reply.status);
      return;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || reply.headers.size() >= most_headers) return;
    std::string name(line.substr(0, colon));
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    reply.headers.try_emplace(name, trimmed(line.substr(colon + 1)));
  }

  bool read_body(std::string_view bytes) {
    if (!is_wanted()) return (dropped += bytes.size()) <= most_dropped_bytes;
    if (!body_begun && !receiver->start(reply)) return false;
    body_begun = true;
    return receiver->part(bytes);
  }

  template <class Work>
  bool safely(Work work) {
    try {
      refused = refused || !work();
    } catch (...) {
      thrown = std::current_exception();
      refused = true;
    }
    return !refused;
  }
};

size_t on_header(char* data, size_t, size_t size, void* exchange) {
  auto& seen = *static_cast<Exchange*>(exchange);
  const auto read = [&] {
    seen.read_header({data, size});
    return true;
  };
  return seen.safely(read) ? size : 0;
}

size_t on_body(char* data, size_t, size_t size, void* exchange) {
  auto& seen = *static_cast<Exchange*>(exchange);
  return seen.safely([&] { return seen.read_body({data, size}); }) ? size : 0;
}

int on_progress(void* exchange, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Exchange*>(exchange)->stop.stop_requested() ? 1 : 0;
}

bool is_certificate_error(CURLcode code) {
  return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
         code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_ISSUER_ERROR;
}

std::string failure_text(CURLcode code, const std::string& detail, const Url& url) {
  const std::string what = detail.empty() ? curl_easy_strerror(code) : detail;
  const bool unreachable = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
                           code == CURLE_COULDNT_RESOLVE_PROXY;
  return cat(unreachable ? "cannot reach " : "the connection to ", url.origin(),
             unreachable ? ": " : " failed: ", what,
             unreachable ? "; without a network, models of the local cache can be used: kvviz models list. "
                           "HTTPS_PROXY names a proxy, HF_ENDPOINT another hub"
                         : "");
}

}  // namespace

struct HttpClient::Request {
  std::string method;
  Url url;
  std::vector<std::string> headers;
  Receiver receiver;  ///< none: the body is read and dropped
};

struct HttpClient::Handle {
  CURL* curl;
  std::array<char, CURL_ERROR_SIZE> detail{};
  Handle() {
    static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
    curl = started == CURLE_OK ? curl_easy_init() : nullptr;
    require(curl != nullptr, "libcurl cannot be started");
  }
  ~Handle() { curl_easy_cleanup(curl); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  template <class Value>
  void set(CURLoption option, Value value) {
    const CURLcode code = curl_easy_setopt(curl, option, value);
    require(code == CURLE_OK, "libcurl refuses the setting ", static_cast<int>(option), ": ",
            curl_easy_strerror(code));
  }
};

HttpSettings http_settings(const Environment& environment, const Token& token) {
  HttpSettings settings{.token = token};
  try {
    settings.endpoint = parse_url(endpoint(environment));
  } catch (const DataError& error) {
    throw UsageError(cat("HF_ENDPOINT: ", error.what()));
  }
  if (const auto text = environment("HF_HUB_DOWNLOAD_TIMEOUT")) {
    const auto seconds = parse_seconds(*text);
    require<UsageError>(seconds && *seconds > 0 && *seconds <= 86400, "HF_HUB_DOWNLOAD_TIMEOUT is ", *text,
                        "; expected seconds, 1 or more");
    settings.read_timeout = std::chrono::seconds(*seconds);
  }
  for (const char* name : {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"})
    if (const auto file = environment(name)) settings.certificates = *file;
  return settings;
}

std::string Reply::header(const std::string& lower_case_name) const {
  const auto at = headers.find(lower_case_name);
  return at == headers.end() ? "" : at->second;
}

bool is_passing(int status) {
  return status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504);
}

HttpClient::HttpClient(HttpSettings settings, std::stop_token stop)
    : settings_(std::move(settings)), stop_(std::move(stop)), handle_(std::make_unique<Handle>()) {}

HttpClient::~HttpClient() = default;

void HttpClient::check_stop() const {
  if (stop_.stop_requested()) throw Stopped();
}

void HttpClient::pause(int attempt, const Reply* reply) const {
  std::chrono::milliseconds wait = settings_.first_pause * (1LL << std::min(attempt - 1, 6));
  const auto asked = parse_seconds(reply == nullptr ? "" : reply->header("retry-after"));
  if (asked) {
    require(*asked <= settings_.longest_pause.count(), settings_.endpoint.host, " asks to wait ", *asked,
            " s before the next request; try again then",
            settings_.token ? "" : " (with an access token it allows more: set HF_TOKEN)");
    wait = std::chrono::seconds(*asked);
  } else {
    // Apart from others that were cut at the same moment.
    static thread_local std::minstd_rand random{std::random_device{}()};
    wait += wait * static_cast<long>(random() % 256) / 1024;
  }
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop_, wait, [] { return false; });
  check_stop();
}

Reply HttpClient::exchange(const Request& request) {
  check_stop();
  Exchange seen{.receiver = &request.receiver, .stop = stop_, .reply = {.url = request.url}};
  ListOfHeaders headers;
  for (const std::string& line : request.headers) headers.add(line);
  const std::string url = request.url.text(), agent = cat("kvviz/", version);
  curl_easy_reset(handle_->curl);
  handle_->detail[0] = '\0';
  handle_->set(CURLOPT_ERRORBUFFER, handle_->detail.data());
  handle_->set(CURLOPT_URL, url.c_str());
  handle_->set(CURLOPT_PATH_AS_IS, 1L);  // a signed address must not be changed
  handle_->set(CURLOPT_PROTOCOLS_STR, "http,https");
  handle_->set(CURLOPT_FOLLOWLOCATION, 0L);
  handle_->set(CURLOPT_NOBODY, request.method == "HEAD" ? 1L : 0L);
  handle_->set(CURLOPT_HTTPHEADER, headers.first);
  handle_->set(CURLOPT_USERAGENT, agent.c_str());
  handle_->set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  handle_->set(CURLOPT_NOSIGNAL, 1L);
  handle_->set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(settings_.connect_timeout.count()));
  handle_->set(CURLOPT_LOW_SPEED_LIMIT, 100L);
  handle_->set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(settings_.read_timeout.count()));
  handle_->set(CURLOPT_BUFFERSIZE, 256L << 10);
  if (!settings_.certificates.empty()) handle_->set(CURLOPT_CAINFO, settings_.certificates.c_str());
  handle_->set(CURLOPT_HEADERFUNCTION, &on_header);
  handle_->set(CURLOPT_HEADERDATA, &seen);
  handle_->set(CURLOPT_WRITEFUNCTION, &on_body);
  handle_->set(CURLOPT_WRITEDATA, &seen);
  handle_->set(CURLOPT_NOPROGRESS, 0L);
  handle_->set(CURLOPT_XFERINFOFUNCTION, &on_progress);
  handle_->set(CURLOPT_XFERINFODATA, &seen);
  const CURLcode code = curl_easy_perform(handle_->curl);
  // A handle that has failed to find a name takes no buffer size any more.
  const std::string detail = printable(handle_->detail.data());
  if (code != CURLE_OK) handle_ = std::make_unique<Handle>();
  check_stop();
  if (seen.thrown) std::rethrow_exception(seen.thrown);
  if (code == CURLE_OK || seen.refused) {
    answered_ = true;
    if (code == CURLE_OK && seen.is_wanted() && !seen.body_begun) request.receiver.start(seen.reply);
    return seen.reply;
  }
  require(!is_certificate_error(code), "the certificate of ", request.url.origin(),
          " is not trusted: ", detail,
          "; SSL_CERT_FILE names a file with the authorities to trust (Debian's are in ca-certificates)");
  throw ConnectionError(failure_text(code, detail, request.url));
}

Reply HttpClient::follow(Request request, bool same_origin) {
  const Url first = request.url;
  const auto plain = request.headers;
  for (int redirects = 0; redirects <= most_redirects; ++redirects) {
    request.headers = plain;
    if (settings_.token && request.url.origin() == settings_.endpoint.origin())
      request.headers.push_back("Authorization: Bearer " + settings_.token.value);
    Reply reply = exchange(request);
    const std::string location = reply.header("location");
    if (!is_redirect(reply.status) || location.empty()) return reply;
    const Url next = resolve(request.url, location);
    if (same_origin && next.origin() != settings_.endpoint.origin()) return reply;
    require(request.url.scheme == "http" || next.scheme == "https", request.url.host,
            " redirects to an address that is not encrypted: ", next.origin(), "; it was not followed");
    request.url = next;
  }
  throw DataError(cat(first.origin(), " redirects in a circle (more than ", most_redirects,
                      " times), beginning with ", printable(first.target)));
}

template <class Once>
Reply HttpClient::retried(Once once) {
  for (int attempt = 1;; ++attempt) {
    Reply reply;
    try {
      reply = once();
      if (attempt >= settings_.tries || !is_passing(reply.status)) return reply;
    } catch (const ConnectionError&) {
      if (attempt >= (answered_ ? settings_.tries : settings_.first_tries)) throw;
    }
    pause(attempt, reply.status == 0 ? nullptr : &reply);
  }
}

Reply HttpClient::get(const std::string& target, size_t most_bytes) {
  return retried([&] {
    std::string body;
    Request request{.method = "GET",
                    .url = on_endpoint(settings_.endpoint, target),
                    .headers = {"Accept: application/json"}};
    request.receiver.start = [](const Reply&) { return true; };
    request.receiver.part = [&](std::string_view bytes) {
      require(body.size() + bytes.size() <= most_bytes, settings_.endpoint.origin(), " answers ",
              printable(target), " with more than ", most_bytes, " bytes; expected less: is that a hub?");
      body += bytes;
      return true;
    };
    Reply reply = follow(std::move(request), false);
    reply.body = std::move(body);
    return reply;
  });
}

Reply HttpClient::head(const std::string& target) {
  return retried([&] {
    Request request{.method = "HEAD",
                    .url = on_endpoint(settings_.endpoint, target),
                    .headers = {"Accept-Encoding: identity"}};
    return follow(std::move(request), true);
  });
}

Reply HttpClient::download(const std::string& target, int64_t first_byte, const Receiver& receiver) {
  Request request{.method = "GET",
                  .url = on_endpoint(settings_.endpoint, target),
                  .headers = {"Accept-Encoding: identity"},
                  .receiver = receiver};
  if (first_byte > 0) request.headers.push_back(cat("Range: bytes=", first_byte, '-'));
  return follow(std::move(request), false);
}

}  // namespace kvviz::hub
