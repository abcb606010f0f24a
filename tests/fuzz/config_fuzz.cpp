// SPDX-License-Identifier: MIT
#include <nlohmann/json.hpp>

#include "fuzz_target.hpp"
#include "model_use.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  return test::survives([&] {
    const auto json = nlohmann::json::parse(test::as_text(data, size), nullptr, false);
    require(!json.is_discarded(), "not JSON");
    test::use(parse_config(json));
  });
}
