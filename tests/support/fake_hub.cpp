// SPDX-License-Identifier: MIT
#include "support/fake_hub.hpp"

#include <openssl/evp.h>

#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace kvviz::test {
namespace {

using nlohmann::json;

std::string digest(const EVP_MD* kind, const std::string& bytes) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), out, &size, kind, nullptr) != 1)
    throw std::runtime_error("digest");
  std::string text;
  char hex[3];
  for (unsigned int i = 0; i < size; ++i) {
    std::snprintf(hex, sizeof hex, "%02x", out[i]);
    text += hex;
  }
  return text;
}

std::string signed_target(const std::string& hash) {
  return "/store/" + hash +
         "?response-content-disposition=inline%3B+filename*%3DUTF-8%27%27a%20b.bin%3B&Expires=1&Signature=a%"
         "2Bb~c%26d%2F"
         "e__&Key-Pair-Id=K";
}

Seen seen_of(const httplib::Request& request, bool at_storage) {
  return {at_storage, request.method, request.target, request.get_header_value("Authorization"),
          request.get_header_value("Range")};
}

void start(httplib::Server& server, std::thread& thread) {
  thread = std::thread([&] { server.listen_after_bind(); });
  while (!server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace

std::string sha256_hex(const std::string& bytes) {
  return digest(EVP_sha256(), bytes);
}

std::string git_blob_hex(const std::string& bytes) {
  return digest(EVP_sha1(), "blob " + std::to_string(bytes.size()) + std::string(1, '\0') + bytes);
}

FakeHub::FakeHub() {
  using Handled = httplib::Server::HandlerResponse;
  for (auto* server : {&hub_, &storage_}) {
    const bool at_storage = server == &storage_;
    server->set_keep_alive_timeout(1);
    server->set_keep_alive_max_count(1000);
    server->set_pre_routing_handler(
        [this, at_storage](const httplib::Request& request, httplib::Response& response) {
          answer(request, response, at_storage);
          return Handled::Handled;
        });
  }
  hub_port_ = hub_.bind_to_any_port("127.0.0.1");
  storage_port_ = storage_.bind_to_any_port("127.0.0.1");
  start(hub_, hub_thread_);
  start(storage_, storage_thread_);
}

FakeHub::~FakeHub() {
  hub_.stop();
  storage_.stop();
  hub_thread_.join();
  storage_thread_.join();
}

std::string FakeHub::endpoint() const {
  return "http://127.0.0.1:" + std::to_string(hub_port_);
}

std::string FakeHub::storage() const {
  return "http://127.0.0.1:" + std::to_string(storage_port_);
}

void FakeHub::add(const std::string& id, FakeModel model) {
  const std::lock_guard lock(mutex_);
  models_[id] = std::move(model);
}

void FakeHub::fault(Fault fault) {
  const std::lock_guard lock(mutex_);
  faults_.push_back(std::move(fault));
}

void FakeHub::clear_faults() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

std::vector<Seen> FakeHub::requests() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

void FakeHub::forget_requests() {
  const std::lock_guard lock(mutex_);
  seen_.clear();
}

void FakeHub::answer(const httplib::Request& request, httplib::Response& response, bool at_storage) {
  const Seen seen = seen_of(request, at_storage);
  std::vector<Fault> faults;
  {
    const std::lock_guard lock(mutex_);
    seen_.push_back(seen);
    faults = faults_;
  }
  for (const Fault& fault : faults)
    if (fault(seen, response)) return;
  response.status = 404;
  if (at_storage) return answer_storage(request, response);
  const std::string api = "/api/models/", path = request.path;
  if (path == "/api/models") return answer_search(response);
  if (path.starts_with(api)) {
    const size_t at = path.find("/revision/");
    if (at == std::string::npos) return;
    const std::string id = path.substr(api.size(), at - api.size());
    const auto model = models_.find(id);
    if (model != models_.end() || !refused(nullptr, seen.authorization, response))
      answer_api(id, path.substr(at + 10), response);
    return;
  }
  if (const size_t at = path.find("/resolve/"); at != std::string::npos)
    answer_file(request, path.substr(1, at - 1), path.substr(at + 9), response);
}

bool FakeHub::refused(const FakeModel* model, const std::string& authorization,
                      httplib::Response& response) const {
  const bool wrong = !authorization.empty() && authorization != "Bearer " + token;
  const bool anonymous = authorization.empty();
  if (wrong) {
    response.status = 401;
    response.set_header("X-Error-Message", "Invalid credentials in Authorization header");
  } else if (model == nullptr) {
    response.status = anonymous ? 401 : 404;
    response.set_header("X-Error-Code", "RepoNotFound");
  } else if (!model->gated.empty() && (anonymous || model->gated == "manual")) {
    response.status = anonymous ? 401 : 403;
    response.set_header("X-Error-Code", "GatedRepo");
  } else {
    return false;
  }
  return true;
}

void FakeHub::answer_search(httplib::Response& response) {
  json list = json::array();
  for (const auto& [id, model] : models_)
    list.push_back({{"id", id},
                    {"downloads", 1234},
                    {"likes", 5},
                    {"gated", model.gated.empty() ? json(false) : json(model.gated)},
                    {"lastModified", "2024-09-25T12:32:28.000Z"}});
  response.status = 200;
  response.set_content(list.dump(), "application/json");
}

void FakeHub::answer_api(const std::string& id, const std::string& revision, httplib::Response& response) {
  const auto found = models_.find(id);
  if (found == models_.end()) return;
  const FakeModel& model = found->second;
  if (revision != model.revision && revision != model.commit) {
    response.set_header("X-Error-Code", "RevisionNotFound");
    return;
  }
  json files = json::array();
  for (const auto& [name, file] : model.files) {
    json entry = {
        {"rfilename", name}, {"size", file.contents.size()}, {"blobId", git_blob_hex(file.contents)}};
    if (file.large)
      entry["lfs"] = {
          {"sha256", sha256_hex(file.contents)}, {"size", file.contents.size()}, {"pointerSize", 130}};
    files.push_back(entry);
  }
  json about = {{"id", id},
                {"sha", model.commit},
                {"gated", model.gated.empty() ? json(false) : json(model.gated)},
                {"siblings", files}};
  about.update(json::parse(model.about));
  response.status = 200;
  response.set_content(about.dump(), "application/json");
}

void FakeHub::answer_file(const httplib::Request& request, const std::string& id, const std::string& rest,
                          httplib::Response& response) {
  const auto found = models_.find(id);
  if (refused(found == models_.end() ? nullptr : &found->second, request.get_header_value("Authorization"),
              response))
    return;
  const FakeModel& model = found->second;
  const size_t slash = rest.find('/');
  const auto file = model.files.find(rest.substr(slash + 1));
  const std::string revision = rest.substr(0, slash);
  if ((revision != model.commit && revision != model.revision) || file == model.files.end()) {
    response.set_header("X-Error-Code", "EntryNotFound");
    return;
  }
  const std::string& contents = file->second.contents;
  response.set_header("X-Repo-Commit", model.commit);
  if (!file->second.large) {
    response.status = -1;
    response.set_header("ETag", '"' + git_blob_hex(contents) + '"');
    response.set_content(contents, "text/plain");
    return;
  }
  response.set_header("X-Linked-Etag", '"' + sha256_hex(contents) + '"');
  response.set_header("X-Linked-Size", std::to_string(contents.size()));
  response.status = 302;
  response.set_header("Location", storage() + signed_target(sha256_hex(contents)));
  // httplib would cut this text, too, to the range that was asked for.
  if (!request.has_header("Range")) response.set_content("Found. Redirecting", "text/plain");
}

void FakeHub::answer_storage(const httplib::Request& request, httplib::Response& response) {
  for (const auto& [id, model] : models_)
    for (const auto& [name, file] : model.files) {
      if (request.target != signed_target(sha256_hex(file.contents))) continue;
      response.status = request.has_header("Authorization") ? 400 : -1;  // -1: 200, or 206 for a range
      if (response.status == -1) response.set_content(file.contents, "binary/octet-stream");
      return;
    }
  response.status = 403;
}

FakeHub::Fault first(int times, const std::string& method, const std::string& in_target,
                     std::function<void(httplib::Response&)> answer) {
  auto left = std::make_shared<std::atomic<int>>(times);
  return [=](const Seen& seen, httplib::Response& response) {
    if (seen.method.find(method) == std::string::npos || seen.target.find(in_target) == std::string::npos)
      return false;
    if (left->fetch_sub(1) <= 0) return false;
    answer(response);
    return true;
  };
}

void cut_after(httplib::Response& response, const std::string& contents, size_t sent) {
  if (response.status <= 0) response.status = 200;
  response.set_content_provider(contents.size(), "binary/octet-stream",
                                [contents, sent](size_t offset, size_t length, httplib::DataSink& sink) {
                                  if (offset >= sent) return false;
                                  return sink.write(contents.data() + offset,
                                                    std::min(length, sent - offset));
                                });
}

}  // namespace kvviz::test
