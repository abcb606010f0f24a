// SPDX-License-Identifier: MIT
#include "kvviz/engine/budget_table.hpp"

#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  static const ModelConfig config = [] {
    ModelConfig made;
    made.layers.assign(2, {.heads = 4, .kv_heads = 2, .head_dim = 8});
    return made;
  }();
  const test::TemporaryFolder folder;
  const std::filesystem::path file = test::as_file(folder, test::as_text(data, size), "budgets.tsv");
  return test::survives<DataError>([&] {
    const std::vector<int64_t> budgets = read_budgets(file, config);
    test::expect(budgets.size() == 4, "not a budget for each KV head");
    for (const int64_t budget : budgets) test::expect(budget > 0, "a budget without a key");
  });
}
