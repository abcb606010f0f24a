// SPDX-License-Identifier: MIT
#include "kvviz/serve/request.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "kvviz/core/json_number.hpp"
#include "kvviz/serve/http_error.hpp"

namespace kvviz::serve {
namespace {

using nlohmann::json;

std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// A value as its sender wrote it, short enough for a message.
std::string got(const json& value) {
  constexpr size_t shown = 60;
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() <= shown) return text;
  size_t end = shown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

template <class Number>
std::optional<Number> parsed(const std::string& text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Fields::Fields(const Request& request) : fields_(request.fields), from_query_(request.from_query) {}

const json* Fields::find(const std::string& name) {
  known_.insert(name);
  const auto at = fields_.find(name);
  return at == fields_.end() || at->is_null() ? nullptr : &*at;
}

bool Fields::has(const std::string& name) {
  return find(name) != nullptr;
}

std::string Fields::text(const std::string& name, size_t most) {
  if (find(name) == nullptr) throw bad_request(name, " is missing; expected a text");
  return text(name, most, "");
}

std::string Fields::text(const std::string& name, size_t most, const std::string& none) {
  const json* value = find(name);
  if (value == nullptr) return none;
  if (!value->is_string()) throw bad_request(name, " is ", got(*value), "; expected a text");
  const auto& text = value->get_ref<const std::string&>();
  if (text.size() > most)
    throw bad_request(name, " has ", text.size(), " bytes; at most ", most, " are taken");
  return text;
}

std::vector<std::string> Fields::texts(const std::string& name, size_t most, std::vector<std::string> none) {
  constexpr size_t longest = 200;
  const json* value = find(name);
  if (value == nullptr) return none;
  const auto fits = [&](const json& item) {
    return item.is_string() && item.get_ref<const std::string&>().size() <= longest;
  };
  if (!value->is_array() || value->empty() || value->size() > most || !std::ranges::all_of(*value, fits))
    throw bad_request(name, " is ", got(*value), "; expected a list of 1 to ", most, " texts of at most ",
                      longest, " bytes");
  return value->get<std::vector<std::string>>();
}

int64_t Fields::integer(const std::string& name, int64_t least, int64_t most, int64_t none) {
  const json* value = find(name);
  if (value == nullptr) return none;
  std::optional<int64_t> number = whole_number(*value);
  if (from_query_) number = parsed<int64_t>(value->get_ref<const std::string&>());
  if (!number || *number < least || *number > most)
    throw bad_request(name, " is ", got(*value), "; expected a whole number from ", least, " to ", most);
  return *number;
}

double Fields::number(const std::string& name, double least, double most, double none) {
  const json* value = find(name);
  if (value == nullptr) return none;
  std::optional<double> number;
  if (value->is_number()) number = value->get<double>();
  if (from_query_) number = parsed<double>(value->get_ref<const std::string&>());
  if (!number || !(*number >= least && *number <= most))
    throw bad_request(name, " is ", got(*value), "; expected a number from ", least, " to ", most);
  return *number;
}

bool Fields::yes(const std::string& name, bool none) {
  const json* value = find(name);
  if (value == nullptr) return none;
  if (value->is_boolean()) return value->get<bool>();
  if (from_query_ && (*value == "true" || *value == "false")) return *value == "true";
  throw bad_request(name, " is ", got(*value), "; expected true or false");
}

std::string Fields::word(const std::string& name, const std::vector<std::string>& words,
                         const std::string& none) {
  const json* value = find(name);
  if (value == nullptr) return none;
  if (!value->is_string() || std::ranges::find(words, value->get_ref<const std::string&>()) == words.end())
    throw bad_request(name, " is ", got(*value), "; expected one of ", listed(words));
  return value->get<std::string>();
}

void Fields::done() const {
  for (const auto& [name, value] : fields_.items())
    if (!known_.contains(name))
      throw bad_request(got(json(name)), " is no field of this request; expected ",
                        known_.empty() ? "none" : listed({known_.begin(), known_.end()}));
}

}  // namespace kvviz::serve
