// SPDX-License-Identifier: MIT
#include "kvviz/report/result.hpp"

#include "fuzz_target.hpp"
#include "kvviz/report/comparison.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  return test::survives([&] {
    const Result result = result_from_json(std::string(test::as_text(data, size)), "input.json");
    to_json(result);
    compare_summaries(result, result);
    for (const Table& table : result.tables) {
      to_csv(table);
      test::survives([&] { compare_tables(table, table); });
    }
  });
}
