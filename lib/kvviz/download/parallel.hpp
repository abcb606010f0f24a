// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <functional>
#include <stop_token>

#include "kvviz/download/http.hpp"

namespace kvviz::hub {

/// Calls work(client, i) for i in [0, count) on up to `connections` threads, each with a client of its own.
/// The first exception stops the others and is thrown.
void for_each_request(size_t count, int connections, const HttpSettings& settings, std::stop_token stop,
                      const std::function<void(HttpClient&, size_t)>& work);

}  // namespace kvviz::hub
