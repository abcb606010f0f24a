// SPDX-License-Identifier: MIT
#include "kvviz/report/tolerance.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "kvviz/core/error.hpp"
#include "kvviz/core/trimmed.hpp"

namespace kvviz {
namespace {

// "0.01", "2%", "0.01+2%"; nullopt: something else.
std::optional<Bound> parse_bound(std::string_view text) {
  std::optional<double> absolute, relative;
  for (bool more = true; more;) {
    text = trimmed(text);
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
    text = trimmed(text.substr(static_cast<size_t>(end - text.data())));
    const bool percent = text.starts_with('%');
    if (percent) text = trimmed(text.substr(1));
    auto& part = percent ? relative : absolute;
    if (part) return std::nullopt;
    part = percent ? number / 100 : number;
    more = text.starts_with('+');
    if (more) text.remove_prefix(1);
  }
  if (!text.empty()) return std::nullopt;
  return Bound{.absolute = absolute.value_or(0), .relative = relative.value_or(0)};
}

}  // namespace

Bound Bound::in_unit(const std::string& unit) const {
  Bound bound = *this;
  if (is_default && unit == "%") bound.absolute *= 100;
  return bound;
}

double Bound::allowed(double a) const {
  return absolute + relative * std::abs(a);
}

bool Bound::holds(double a, double b) const {
  const double limit = allowed(a);
  if (limit == 0) return a == b;
  const double rounding = 4 * std::numeric_limits<double>::epsilon() * std::max(std::abs(a), std::abs(b));
  return std::abs(b - a) <= limit + rounding;
}

ToleranceRule parse_tolerance(std::string_view text) {
  const auto refuse = [&](const auto&... parts) {
    throw UsageError(
        cat("--tolerance ", text, ": ", parts...,
            "; expected [PATTERN=]BOUND with BOUND one of 0.01, 2%, 0.01+2%, default, ignore, for "
            "example 1% or compress.*.kl=0.001+5%"));
  };
  const size_t sign = text.rfind('=');
  const bool patterned = sign != std::string_view::npos;
  const std::string_view pattern = patterned ? trimmed(text.substr(0, sign)) : std::string_view();
  const std::string_view right = trimmed(patterned ? text.substr(sign + 1) : text);
  if (patterned && pattern.empty()) refuse("nothing before =");
  ToleranceRule rule{.text = std::string(text), .pattern = std::string(pattern), .bound = {}};
  rule.bound.is_default = right == "default";
  if (rule.bound.is_default) return rule;
  if (right == "ignore") {
    if (!patterned) refuse("nothing would be compared");
    rule.bound.ignored = true;
    return rule;
  }
  const auto bound = parse_bound(right);
  if (!bound) refuse("got \"", right, "\" as the bound");
  rule.bound = *bound;
  return rule;
}

bool matches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, after_star = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after_star = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++after_star;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

Tolerances::Tolerances(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    ToleranceRule rule = parse_tolerance(text);
    if (rule.pattern.empty())
      base_ = rule.bound;
    else
      rules_.push_back(std::move(rule));
  }
  used_.resize(rules_.size());
}

std::optional<size_t> Tolerances::rule(const std::vector<std::string>& names) {
  std::optional<size_t> last;
  for (size_t i = 0; i < rules_.size(); ++i) {
    const auto is_meant = [&](const std::string& name) { return matches(rules_[i].pattern, name); };
    if (!std::ranges::any_of(names, is_meant)) continue;
    used_[i] = true;
    last = i;
  }
  return last;
}

std::vector<std::string> Tolerances::unused() const {
  std::vector<std::string> texts;
  for (size_t i = 0; i < rules_.size(); ++i)
    if (!used_[i]) texts.push_back(rules_[i].text);
  return texts;
}

}  // namespace kvviz
