// SPDX-License-Identifier: MIT
#include "cli/stream_listener.hpp"

#include <doctest/doctest.h>
#include <openssl/evp.h>

#include <cstring>

namespace kvviz::test {

StreamListener::StreamListener(const Serving& server, const std::string& id)
    : client_("127.0.0.1", server.port()), thread_([this, id] {
        client_.set_read_timeout(60);
        client_.Get("/api/streams/" + id + "/events", [this](const char* data, size_t size) {
          const std::lock_guard lock(mutex_);
          body_.append(data, size);
          return !leave_;
        });
        const std::lock_guard lock(mutex_);
        ended_ = true;
      }) {}

StreamListener::~StreamListener() {
  {
    const std::lock_guard lock(mutex_);
    leave_ = true;
  }
  client_.stop();
  thread_.join();
}

std::vector<Event> StreamListener::events() const {
  const std::lock_guard lock(mutex_);
  return events_in(body_.substr(0, body_.rfind("\n\n") + 1));
}

std::vector<nlohmann::json> StreamListener::frames() const {
  std::vector<nlohmann::json> frames;
  for (const Event& event : events())
    if (event.name == "frame") frames.push_back(event.data);
  return frames;
}

nlohmann::json StreamListener::wait_for(const std::string& state) const {
  nlohmann::json latest;
  REQUIRE_MESSAGE(eventually([&] {
                    for (const Event& event : events())
                      if (event.name == "state") latest = event.data;
                    return latest.is_object() && latest["state"] == state;
                  }),
                  "the stream is not ", state, " but ", latest.dump());
  return latest;
}

void StreamListener::wait_for_frames(size_t count) const {
  REQUIRE(eventually([&] { return frames().size() >= count; }));
}

bool StreamListener::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

std::vector<float> row_of(const nlohmann::json& frame) {
  const auto text = frame.at("row").get<std::string>();
  std::string bytes(text.size() / 4 * 3 + 1, '\0');
  const int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  REQUIRE(length >= 0);
  std::vector<float> row(frame.at("position").get<size_t>() + 1);
  REQUIRE(row.size() * sizeof(float) <= static_cast<size_t>(length));
  std::memcpy(row.data(), bytes.data(), row.size() * sizeof(float));
  return row;
}

}  // namespace kvviz::test
