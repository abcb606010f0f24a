// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cctype>
#include <cstdint>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

std::string message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

const PCRE2_UCHAR* units(std::string_view text) {
  return reinterpret_cast<const PCRE2_UCHAR*>(text.data());
}

}  // namespace

Regex::Regex(const std::string& pattern) {
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  size_t offset = 0;
  pcre2_code* code = pcre2_compile(units(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
                                   &error, &offset, context.get());
  require(code != nullptr, "[tokenizer] the regular expression ", pattern,
          " cannot be used: ", message(error), " at offset ", offset);
  code_ = std::shared_ptr<const void>(code, [](const void* p) {
    pcre2_code_free(const_cast<pcre2_code*>(static_cast<const pcre2_code*>(p)));
  });
  pcre2_jit_compile(code,
                    PCRE2_JIT_COMPLETE);  // where there is no JIT, the interpreter gives the same matches

  pcre2_match_context* limits = pcre2_match_context_create(nullptr);
  limits_ = std::shared_ptr<void>(
      limits, [](void* p) { pcre2_match_context_free(static_cast<pcre2_match_context*>(p)); });
  // A page of blanks backtracks once a blank; PCRE2's default limits would refuse it. A pattern that
  // backtracks without end still comes to one.
  constexpr uint32_t most_steps = 200'000'000;
  pcre2_set_match_limit(limits, most_steps);
  pcre2_set_depth_limit(limits, UINT32_MAX);
  pcre2_set_heap_limit(limits, UINT32_MAX);
}

std::string literal_pattern(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && !std::isalnum(byte)) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

bool Regex::may_be_empty() const {
  uint32_t empty = 1;
  pcre2_pattern_info(static_cast<const pcre2_code*>(code_.get()), PCRE2_INFO_MATCHEMPTY, &empty);
  return empty != 0;
}

std::vector<ByteRange> Regex::find_all(std::string_view text) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  auto* limits = static_cast<pcre2_match_context*>(limits_.get());
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  std::vector<ByteRange> found;
  for (size_t at = 0; at < text.size();) {
    int result = pcre2_match(code, units(text), text.size(), at, PCRE2_NO_UTF_CHECK, match.get(), limits);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
      result = pcre2_match(code, units(text), text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match.get(),
                           limits);
    }
    if (result == PCRE2_ERROR_NOMATCH) break;
    require(result >= 0, "[tokenizer] matching at offset ", at, " failed: ", message(result));
    const size_t* range = pcre2_get_ovector_pointer(match.get());
    if (range[1] > range[0]) {
      found.push_back({range[0], range[1]});
      at = range[1];
    } else if (range[1] < text.size()) {
      at = range[1] + first_unit(text.substr(range[1])).length;
    } else {
      break;
    }
  }
  return found;
}

}  // namespace kvviz
