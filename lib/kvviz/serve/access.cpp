// SPDX-License-Identifier: MIT
#include "kvviz/serve/access.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>

#include "kvviz/core/sha256.hpp"

namespace kvviz::serve {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// "[::1]:80" -> "::1", "Localhost:80" -> "localhost", "::1" -> "::1"; "": none of these.
std::string name_of(const std::string& host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    const bool whole = end != std::string::npos && (end + 1 == host.size() || host[end + 1] == ':');
    return whole ? lower(host.substr(1, end - 1)) : "";
  }
  const bool address = std::ranges::count(host, ':') > 1;
  return lower(address ? host : host.substr(0, host.find(':')));
}

bool is_address(const std::string& name) {
  in_addr four{};
  in6_addr six{};
  return inet_pton(AF_INET, name.c_str(), &four) == 1 || inet_pton(AF_INET6, name.c_str(), &six) == 1;
}

bool is_loopback(const std::string& name) {
  return name == "localhost" || name == "::1" || (name.starts_with("127.") && is_address(name));
}

}  // namespace

bool reachable_from_elsewhere(const std::string& host) {
  return !is_loopback(name_of(host));
}

bool host_is_ours(const Access& access, const std::string& host) {
  const std::string name = name_of(host), bound = name_of(access.host);
  if (is_loopback(name) || (name == bound && !name.empty())) return true;
  if ((bound == "0.0.0.0" || bound == "::") && is_address(name)) return true;
  return std::ranges::any_of(access.names, [&](const std::string& ours) { return name_of(ours) == name; });
}

bool same_origin(const Sender& sender) {
  const std::string& site = sender.fetch_site;
  if (!site.empty() && site != "same-origin" && site != "none") return false;
  const std::string host = lower(sender.host), origin = lower(sender.origin);
  return origin.empty() || origin == "http://" + host || origin == "https://" + host;
}

bool has_token(const Access& access, const Sender& sender) {
  if (access.token.empty()) return true;
  // Hashes of equal length: how many characters agree says nothing about the token.
  return sha256(sender.authorization) == sha256("Bearer " + access.token);
}

bool RateLimit::allows(const std::string& address, Clock::time_point now) {
  constexpr size_t remembered = 10'000;
  const std::lock_guard lock(mutex_);
  if (buckets_.size() > remembered) {
    const auto full = std::chrono::duration<double>(burst_ / rate_);
    std::erase_if(buckets_, [&](const auto& entry) { return now - entry.second.at > full; });
  }
  const auto [at, is_new] = buckets_.try_emplace(address, Bucket{burst_, now});
  Bucket& bucket = at->second;
  const double seconds = std::chrono::duration<double>(now - bucket.at).count();
  bucket = {std::min(burst_, bucket.left + rate_ * seconds), now};
  if (bucket.left < 1) return false;
  bucket.left -= 1;
  return true;
}

}  // namespace kvviz::serve
