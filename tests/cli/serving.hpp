// SPDX-License-Identifier: MIT
#pragma once
#include <httplib.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/running.hpp"

namespace kvviz::test {

struct Answer {
  int status = 0;  ///< 0: no answer
  std::string type, body;

  /// Fails the test when it is none.
  nlohmann::json json() const;
  /// The message of an error.
  std::string message() const;
};

struct Event {
  std::string name;
  nlohmann::json data;
};
std::vector<Event> events_in(const std::string& body);

/// A message of matrices; numbers of every type as doubles, as there is no larger one among them.
struct Matrices {
  nlohmann::json header;
  std::vector<nlohmann::json> progress;  ///< of the messages before it
  std::map<std::string, std::vector<double>> arrays;
  std::map<std::string, std::vector<int64_t>> shapes;
};
/// The last message. Fails the test when one is malformed.
Matrices matrices_in(const Answer& answer);

/// The kvviz serve under test, at a port of its own, in `folder`; its model is loaded, unless none is wanted.
class Serving {
 public:
  explicit Serving(const std::filesystem::path& folder, std::vector<std::string> arguments = {});

  httplib::Client client() const;
  Answer get(const std::string& path) const;
  Answer post(const std::string& path, const nlohmann::json& fields) const;
  Running& process() { return process_; }
  int port() const { return port_; }

 private:
  Running process_;
  int port_ = 0;
};

}  // namespace kvviz::test
