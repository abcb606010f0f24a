// SPDX-License-Identifier: MIT
#include <nlohmann/json.hpp>

#include "fuzz_target.hpp"
#include "model_use.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  const auto json = nlohmann::json::parse(test::as_text(data, size), nullptr, false);
  if (json.is_discarded()) return 0;
  return test::survives([&] { test::use(parse_config(json)); });
}
