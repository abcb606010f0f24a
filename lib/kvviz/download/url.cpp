// SPDX-License-Identifier: MIT
#include "kvviz/download/url.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "kvviz/core/error.hpp"

namespace kvviz::hub {
namespace {

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

int default_port(const std::string& scheme) {
  return scheme == "https" ? 443 : 80;
}

int parse_port(std::string_view text, const std::string& scheme) {
  if (text.empty()) return default_port(scheme);
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port <= 65535 ? port : 0;
}

bool is_host(const std::string& host) {
  const bool six = host.find(':') != std::string::npos;
  return !host.empty() && host.size() <= 253 && std::ranges::all_of(host, [six](char c) {
    return is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || (six && c == ':');
  });
}

constexpr std::string_view url_characters = "!#$%&'()*+,/:;=?@[]";

}  // namespace

std::string Url::origin() const {
  const bool six = host.find(':') != std::string::npos;
  const std::string name = six ? '[' + host + ']' : host;
  return scheme + "://" + name + (port == default_port(scheme) ? "" : ':' + std::to_string(port));
}

Url parse_url(const std::string& text) {
  const auto good = [&](bool ok, const char* what) {
    require(ok, "the address ", printable(text), ' ', what, "; expected http(s)://host[:port]/path");
  };
  good(std::ranges::none_of(text, [](unsigned char c) { return c <= ' ' || c == 0x7f; }),
       "holds white space or control characters");
  const size_t sign = text.find("://");
  good(sign != std::string::npos, "has no scheme");
  Url url{.scheme = lower(text.substr(0, sign))};
  good(url.scheme == "http" || url.scheme == "https", "is neither http nor https");
  const size_t first = sign + 3, end = std::min(text.find_first_of("/?#", first), text.size());
  const std::string authority = text.substr(first, end - first);
  good(authority.find('@') == std::string::npos, "names a user");
  const size_t bracket = authority.find(']');
  const bool six = authority.starts_with('[') && bracket != std::string::npos;
  const size_t colon = six ? authority.find(':', bracket) : authority.rfind(':');
  url.host = lower(six ? authority.substr(1, bracket - 1) : authority.substr(0, colon));
  url.port =
      parse_port(colon == std::string::npos ? "" : std::string_view(authority).substr(colon + 1), url.scheme);
  good(is_host(url.host) && (six || url.host.find(':') == std::string::npos), "has no host");
  good(url.port > 0, "has no port of 1 to 65535");
  std::string target = text.substr(end, std::min(text.find('#', end), text.size()) - end);
  if (!target.starts_with('/')) target.insert(0, "/");
  url.target = percent_encoded(target, url_characters);
  return url;
}

Url resolve(const Url& base, const std::string& location) {
  const size_t scheme = location.find("://"), special = location.find_first_of("/?#");
  if (scheme != std::string::npos && scheme < special) return parse_url(location);
  if (location.starts_with("//")) return parse_url(base.scheme + ':' + location);
  if (location.starts_with("/")) return parse_url(base.origin() + location);
  const std::string path = base.target.substr(0, base.target.find('?'));
  if (location.starts_with("?")) return parse_url(base.origin() + path + location);
  return parse_url(base.origin() + path.substr(0, path.rfind('/') + 1) + location);
}

std::string percent_encoded(std::string_view text, std::string_view also) {
  constexpr const char* digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_alphanumeric(c) || std::string_view("-._~").find(c) != std::string_view::npos ||
        also.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', digits[byte >> 4], digits[byte & 15]};
  }
  return out;
}

std::string printable(std::string_view text, size_t most) {
  std::string out(text.substr(0, most));
  if (text.size() > most) {
    // Not in the middle of a character: its first byte goes with what was cut.
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0) == 0x80) out.pop_back();
    if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xc0) out.pop_back();
    out += "...";
  }
  for (char& c : out)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
  // U+0080 to U+009F are control characters too: \xc2\x9b begins an escape sequence.
  for (size_t at = out.find('\xc2'); at != std::string::npos; at = out.find('\xc2', at + 1))
    if (at + 1 < out.size() && static_cast<unsigned char>(out[at + 1]) < 0xa0) out.replace(at, 2, "?");
  return out;
}

}  // namespace kvviz::hub
