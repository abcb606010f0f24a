// SPDX-License-Identifier: MIT
#include "kvviz/compress/codec.hpp"

#include <algorithm>
#include <charconv>

#include "kvviz/compress/table.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"

namespace kvviz::compress {
namespace {

std::vector<MethodInfo> all_methods() {
  std::vector<MethodInfo> all;
  for (const auto& part : {plain_methods(), quantised_methods(), low_rank_methods(), cross_layer_methods()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::string spellings() {
  std::string text;
  for (const MethodInfo& info : methods()) {
    if (!text.empty()) text += ", ";
    text += info.name;
    const bool optional = info.arguments.starts_with('[');  // so is the colon
    if (!info.arguments.empty()) text.append(optional ? "[:" : ":").append(info.arguments.substr(optional));
  }
  return text;
}

}  // namespace

std::vector<Coded> Codec::code_layers(std::span<const at::Tensor> layers, Side side) const {
  std::vector<Coded> coded(layers.size());
  const auto code_layer = [&](int64_t l) { coded[l] = code(layers[l], side); };
  const auto count = std::ssize(layers);
  if (count < kernels::thread_count()) {
    // The threads find more to do inside of a layer.
    for (int64_t l = 0; l < count; ++l) code_layer(l);
  } else {
    const stats::SerialBlas serial;
    kernels::parallel_for(count, code_layer);
  }
  return coded;
}

std::span<const MethodInfo> methods() {
  static const std::vector<MethodInfo> all = all_methods();
  return all;
}

Method parse_method(std::string_view text) {
  const size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const auto all = methods();
  const auto found = std::ranges::find(all, name, &MethodInfo::name);
  require<UsageError>(found != all.end(), "[method] '", text, "' is no method; there are ", spellings());
  require<UsageError>(!text.ends_with(':'), "[method] '", text,
                      "' ends in ':': write the argument behind it, or '", text.substr(0, text.size() - 1),
                      "'");
  const std::string_view arguments = colon == text.npos ? std::string_view() : text.substr(colon + 1);
  return {.text = std::string(text), .info = &*found, .codec = found->make(arguments)};
}

std::vector<int64_t> whole_arguments(std::string_view method, std::string_view arguments, size_t most) {
  std::vector<int64_t> numbers;
  if (arguments.empty()) return numbers;
  for (size_t at = 0; at <= arguments.size();) {
    const size_t end = std::min(arguments.find(':', at), arguments.size());
    const std::string_view word = arguments.substr(at, end - at);
    int64_t number = 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    require<UsageError>(error == std::errc() && stop == word.data() + word.size() && number >= 0, "[", method,
                        "] got '", word, "' in '", method, ':', arguments,
                        "', expected a whole number, 0 or more");
    numbers.push_back(number);
    at = end + 1;
  }
  require<UsageError>(numbers.size() <= most, "[", method, "] got ", numbers.size(), " arguments in '",
                      method, ':', arguments, "', expected at most ", most);
  return numbers;
}

}  // namespace kvviz::compress
