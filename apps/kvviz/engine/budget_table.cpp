// SPDX-License-Identifier: MIT
#include "kvviz/engine/budget_table.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

constexpr std::array<const char*, 3> columns{"layer", "kv_head", "budget"};

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, '\t');) {
    while (!cell.empty() && (cell.back() == '\r' || cell.back() == ' ')) cell.pop_back();
    cells.push_back(cell);
  }
  return cells;
}

}  // namespace

std::vector<int64_t> read_budgets(const std::filesystem::path& file, const ModelConfig& config) {
  require(std::filesystem::is_regular_file(file), file.string(), " is not a file");
  std::ifstream in(file);
  std::string line;
  require(static_cast<bool>(std::getline(in, line)), file.string(),
          " is empty; expected a TSV with a header layer, kv_head, budget");
  const std::vector<std::string> header = cells_of(line);
  std::array<size_t, 3> place{};
  for (size_t c = 0; c < columns.size(); ++c) {
    const auto found = std::ranges::find(header, columns[c]);
    require(found != header.end(), file.string(), " line 1: no column ", columns[c],
            "; expected a TSV with a header layer, kv_head, budget");
    place[c] = static_cast<size_t>(found - header.begin());
  }
  const auto layers = std::ssize(config.layers);
  const int64_t heads = config.layers.front().kv_heads;
  std::vector<int64_t> budgets(static_cast<size_t>(layers * heads), 0);
  for (int number = 2; std::getline(in, line); ++number) {
    const std::vector<std::string> cells = cells_of(line);
    if (cells.empty()) continue;
    const auto at = [&] { return cat(file.string(), " line ", number, ": "); };
    std::array<int64_t, 3> value{};
    for (size_t c = 0; c < columns.size(); ++c) {
      const std::string cell = place[c] < cells.size() ? cells[place[c]] : "";
      const auto read = std::from_chars(cell.data(), cell.data() + cell.size(), value[c]);
      require(!cell.empty() && read.ec == std::errc() && read.ptr == cell.data() + cell.size(), at(),
              columns[c], " is '", cell, "', expected a whole number");
    }
    const auto [layer, head, budget] = value;
    require(layer >= 0 && layer < layers && head >= 0 && head < heads, at(), "layer ", layer, ", KV head ",
            head, "; the model has layers 0 to ", layers - 1, " and KV heads 0 to ", heads - 1);
    require(budget > 0, at(), "budget ", budget, ", expected at least 1 key");
    int64_t& own = budgets[static_cast<size_t>(layer * heads + head)];
    require(own == 0, at(), "layer ", layer, ", KV head ", head, " stands there twice");
    own = budget;
  }
  const auto missing = std::ranges::find(budgets, 0) - budgets.begin();
  require(missing == std::ssize(budgets), file.string(), ": no budget for layer ", missing / heads,
          ", KV head ", missing % heads, "; expected one for each of ", layers, " layers x ", heads,
          " KV heads");
  return budgets;
}

void write_budgets(const std::filesystem::path& file, std::span<const analysis::SetOutcome> sets) {
  // Query heads with sets of their own: the KV head gets the most that one of them held.
  std::map<std::pair<int, int>, double> budgets;
  for (const analysis::SetOutcome& set : sets) {
    double& budget = budgets[{set.layer, set.kv_head}];
    budget = std::max(budget, set.final_entries);
  }
  std::string text = "layer\tkv_head\tbudget\n";
  for (const auto& [place, budget] : budgets)
    text += cat(place.first, '\t', place.second, '\t', std::max<int64_t>(std::llround(budget), 1), '\n');
  write_file(file, text);
}

}  // namespace kvviz
