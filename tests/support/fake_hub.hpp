// SPDX-License-Identifier: MIT
#pragma once
#include <httplib.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace kvviz::test {

/// Hashes by OpenSSL, apart from the code under test.
std::string sha256_hex(const std::string& bytes);
std::string git_blob_hex(const std::string& bytes);

struct FakeFile {
  std::string contents;
  bool large = false;  ///< in Git LFS: redirected to the storage, named by SHA-256
};

struct FakeModel {
  std::map<std::string, FakeFile> files;
  std::string commit = std::string(39, '0') + "1";
  std::string gated;  ///< "", auto, manual
  std::string revision = "main";
  std::string about = "{}";  ///< further members of the hub's answer about it, as JSON
};

/// A request as it came in.
struct Seen {
  bool at_storage = false;
  std::string method, target, authorization, range;
};

/// A server of this machine that behaves like the Hugging Face hub, and a second one, another origin, like
/// the storage its large files are redirected to, with signed addresses that must arrive unchanged. The
/// storage refuses requests that carry an access token.
class FakeHub {
 public:
  FakeHub();
  ~FakeHub();
  FakeHub(const FakeHub&) = delete;
  FakeHub& operator=(const FakeHub&) = delete;

  std::string endpoint() const;
  std::string storage() const;
  const std::string token = "hf_rightRIGHTrightRIGHT1234";

  void add(const std::string& id, FakeModel model);

  /// Answers in place of the hub when it returns true; asked in order, before everything else.
  using Fault = std::function<bool(const Seen&, httplib::Response&)>;
  void fault(Fault fault);
  void clear_faults();

  std::vector<Seen> requests() const;
  void forget_requests();

 private:
  void answer(const httplib::Request& request, httplib::Response& response, bool at_storage);
  void answer_api(const std::string& id, const std::string& revision, httplib::Response& response);
  void answer_search(httplib::Response& response);
  void answer_file(const httplib::Request& request, const std::string& id, const std::string& rest,
                   httplib::Response& response);
  void answer_storage(const httplib::Request& request, httplib::Response& response);
  bool refused(const FakeModel* model, const std::string& authorization, httplib::Response& response) const;

  httplib::Server hub_, storage_;
  int hub_port_ = 0, storage_port_ = 0;
  std::thread hub_thread_, storage_thread_;
  mutable std::mutex mutex_;
  std::map<std::string, FakeModel> models_;
  std::vector<Fault> faults_;
  std::vector<Seen> seen_;
};

/// A fault for the first `times` requests whose method and target contain these.
FakeHub::Fault first(int times, const std::string& method, const std::string& in_target,
                     std::function<void(httplib::Response&)> answer);

/// An answer of `length` bytes of which only `sent` arrive before the connection is cut.
void cut_after(httplib::Response& response, const std::string& contents, size_t sent);

}  // namespace kvviz::test
