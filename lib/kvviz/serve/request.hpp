// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "kvviz/serve/http_error.hpp"

namespace kvviz::serve {

/// What a route gets.
struct Request {
  std::vector<std::string> parts;  ///< what stands where the route has {}
  nlohmann::json fields;           ///< an object: the body, or the query, whose values are texts
  bool from_query = false;
  bool with_token = true;  ///< false: a route that needs none, asked without the one that others do
};

/// The fields of a request, each checked when it is read; `none` stands in for a field that is not there or
/// null. Everything throws HttpError 400 that names the field, what was got and what is expected.
class Fields {
 public:
  explicit Fields(const Request& request);

  bool has(const std::string& name);
  /// At most so many bytes of UTF-8.
  std::string text(const std::string& name, size_t most);
  std::string text(const std::string& name, size_t most, const std::string& none);
  std::vector<std::string> texts(const std::string& name, size_t most, std::vector<std::string> none);
  int64_t integer(const std::string& name, int64_t least, int64_t most, int64_t none);
  double number(const std::string& name, double least, double most, double none);
  bool yes(const std::string& name, bool none);
  /// One of these words.
  std::string word(const std::string& name, const std::vector<std::string>& words, const std::string& none);

  /// Call it after the last field. Throws for fields that nobody has asked for.
  void done() const;

 private:
  const nlohmann::json* find(const std::string& name);
  const nlohmann::json& fields_;
  bool from_query_;
  std::set<std::string> known_;
};

}  // namespace kvviz::serve
