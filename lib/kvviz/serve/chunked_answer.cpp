// SPDX-License-Identifier: MIT
#include "kvviz/serve/chunked_answer.hpp"

namespace kvviz::serve {

void Chunks::send(const std::string& part) {
  if (stopping_ || !sink_.write(part.data(), part.size())) throw Gone();
  last_ = Clock::now();
}

void Chunks::write(const std::string& part) {
  const std::lock_guard lock(mutex_);
  send(part);
}

void Chunks::keep(const std::string& silence) {
  constexpr std::chrono::seconds long_silence{5};
  const std::lock_guard lock(mutex_);
  if (stopping_ || !sink_.is_writable()) throw Gone();
  if (!silence.empty() && Clock::now() - last_ > long_silence) send(silence);
}

// JSON has no line breaks of its own when it is dumped in one line, so one `data:` is enough.
void ChunkedEvents::send(const std::string& event, const nlohmann::ordered_json& data) {
  chunks_.write("event: " + event +
                "\ndata: " + data.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n\n");
}

void ChunkedEvents::keep() {
  chunks_.keep(": \n\n");
}

void ChunkedMatrices::progress(const std::string& what, int64_t done, int64_t total) {
  chunks_.write(matrices({{"progress", progress_object(what, done, total)}}, {}).body);
}

}  // namespace kvviz::serve
