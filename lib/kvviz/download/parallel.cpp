// SPDX-License-Identifier: MIT
#include "kvviz/download/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace kvviz::hub {

void for_each_request(size_t count, int connections, const HttpSettings& settings, std::stop_token stop,
                      const std::function<void(HttpClient&, size_t)>& work) {
  std::stop_source all;
  const std::stop_callback from_outside(stop, [&] { all.request_stop(); });
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  const auto run = [&] {
    try {
      HttpClient client(settings, all.get_token());
      for (size_t i = next++; i < count; i = next++) work(client, i);
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
      all.request_stop();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < std::min(count, static_cast<size_t>(connections)); ++i) threads.emplace_back(run);
    run();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace kvviz::hub
