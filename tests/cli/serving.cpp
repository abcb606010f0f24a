// SPDX-License-Identifier: MIT
#include "cli/serving.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <regex>
#include <sstream>

namespace kvviz::test {
namespace {

std::vector<std::string> with_command(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"serve", "--port", "0"});
  return arguments;
}

template <class T>
std::vector<double> numbers(const std::string& body, size_t at, size_t count) {
  std::vector<T> values(count);
  std::memcpy(values.data(), body.data() + at, count * sizeof(T));
  return {values.begin(), values.end()};
}

// Where the next one begins.
size_t read_message(const std::string& body, size_t at, Matrices& matrices) {
  REQUIRE(body.size() >= at + 8);
  REQUIRE(body.compare(at, 4, "KVM1") == 0);
  uint32_t length = 0;
  std::memcpy(&length, body.data() + at + 4, sizeof length);
  REQUIRE(at + 8 + length <= body.size());
  matrices.header = nlohmann::json::parse(body.substr(at + 8, length));
  at += 8 + length;
  REQUIRE(at % 8 == 0);
  for (const auto& array : matrices.header.at("arrays")) {
    const std::string name = array.at("name"), dtype = array.at("dtype");
    const auto shape = array.at("shape").get<std::vector<int64_t>>();
    const auto count =
        static_cast<size_t>(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies{}));
    const size_t bytes = count * (dtype == "uint8" ? 1 : 4);
    REQUIRE(at + bytes <= body.size());
    matrices.arrays[name] = dtype == "float32" ? numbers<float>(body, at, count)
                            : dtype == "int32" ? numbers<int32_t>(body, at, count)
                                               : numbers<uint8_t>(body, at, count);
    matrices.shapes[name] = shape;
    at += (bytes + 7) / 8 * 8;
  }
  return at;
}

Answer answer_of(const httplib::Result& result) {
  if (!result) return {};
  return {result->status, result->get_header_value("Content-Type"), result->body};
}

}  // namespace

nlohmann::json Answer::json() const {
  auto parsed = nlohmann::json::parse(body, nullptr, false);
  CHECK_MESSAGE(!parsed.is_discarded(), "no JSON: ", body.substr(0, 300));
  return parsed;
}

std::string Answer::message() const {
  const auto parsed = json();
  REQUIRE_MESSAGE((parsed.is_object() && parsed.contains("error")), body.substr(0, 300));
  return parsed["error"]["message"];
}

std::vector<Event> events_in(const std::string& body) {
  std::vector<Event> events;
  std::istringstream lines(body);
  std::string name;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("event: ")) name = line.substr(7);
    if (line.starts_with("data: ")) events.push_back({name, nlohmann::json::parse(line.substr(6))});
  }
  return events;
}

Matrices matrices_in(const Answer& answer) {
  REQUIRE_MESSAGE(answer.status == 200, answer.body.substr(0, 300));
  CHECK(answer.type == "application/vnd.kvviz.matrices");
  Matrices matrices;
  size_t at = 0;
  do {
    if (at > 0) matrices.progress.push_back(matrices.header.at("progress"));
    at = read_message(answer.body, at, matrices);
  } while (at < answer.body.size());
  return matrices;
}

Serving::Serving(const std::filesystem::path& folder, std::vector<std::string> arguments)
    : process_(with_command(arguments), folder) {
  const std::regex address("http://[^ ]*:([0-9]+)/");
  std::smatch found;
  std::string out;
  REQUIRE_MESSAGE(eventually([&] {
                    out = process_.out();
                    return std::regex_search(out, found, address) || process_.ended();
                  }),
                  "kvviz serve says no address: ", process_.err());
  REQUIRE_MESSAGE(!found.empty(), process_.err());
  port_ = std::stoi(found[1]);
  const bool none = std::ranges::find(arguments, "none") != arguments.end();
  REQUIRE_MESSAGE(eventually([&] {
                    const auto state = get("/api/model").json();
                    return state["state"] == "ready" || state.contains("error") ||
                           (none && state["state"] == "none");
                  }),
                  "no model was loaded: ", process_.err());
}

httplib::Client Serving::client() const {
  httplib::Client client("127.0.0.1", port_);
  client.set_read_timeout(60);
  return client;
}

Answer Serving::get(const std::string& path) const {
  return answer_of(client().Get(path));
}

Answer Serving::post(const std::string& path, const nlohmann::json& fields) const {
  return answer_of(client().Post(path, fields.dump(), "application/json"));
}

}  // namespace kvviz::test
