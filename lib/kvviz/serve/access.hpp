// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace kvviz::serve {

/// Who may ask.
struct Access {
  std::string host;                ///< the address that is listened at
  std::vector<std::string> names;  ///< further names of this server that a Host may give
  std::string token;               ///< empty: none is required
};

/// Whether other machines can reach a server at this address: not 127.0.0.0/8, ::1 or localhost.
bool reachable_from_elsewhere(const std::string& host);

/// What a request says of where it comes from; empty: the header is not there.
struct Sender {
  std::string host, origin, fetch_site, authorization;
};

/// Host is a name of this server, whatever the port (a tunnel may change it): localhost, a loopback address,
/// the address listened at, one of the names, or, when all addresses are listened at, any address. A page of
/// another site whose name was made to point here (DNS rebinding) has another Host.
bool host_is_ours(const Access& access, const std::string& host);

/// A browser's page of this very server sends an Origin of its own Host and Sec-Fetch-Site same-origin or
/// none; what is no browser sends neither.
bool same_origin(const Sender& sender);

/// Authorization: Bearer TOKEN. Takes as long for a wrong token as for a right one.
bool has_token(const Access& access, const Sender& sender);

/// How often each address has asked: a bucket that fills by `rate` a second up to `burst`.
class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;
  RateLimit(double rate, double burst) : rate_(rate), burst_(burst) {}
  /// Any thread.
  bool allows(const std::string& address, Clock::time_point now = Clock::now());

 private:
  struct Bucket {
    double left = 0;
    Clock::time_point at;
  };
  double rate_, burst_;
  std::mutex mutex_;
  std::map<std::string, Bucket> buckets_;
};

}  // namespace kvviz::serve
