// SPDX-License-Identifier: MIT
#include "kvviz/tables/profile_tables.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

using namespace kvviz;
using namespace kvviz::analysis;

namespace {

/// The rows of a table, by column name.
std::vector<std::map<std::string, Cell>> rows_of(const Table& table) {
  validate(table);
  std::vector<std::map<std::string, Cell>> rows;
  for (const auto& row : table.rows) {
    rows.emplace_back();
    for (size_t i = 0; i < row.size(); ++i) rows.back()[table.columns[i].name] = row[i];
  }
  return rows;
}

struct Case {
  CacheShape shape{.layers = {{2, 8, 0}, {2, 8, 40}}};  // 64 bytes a token and layer as f16
  CacheType f16 = parse_cache_type("f16");
  std::vector<MemoryTier> tiers{{"fast", 3 * 1024, 100}, {"slow", 100000, 10}};
  MeasuredAccess access{2, 2, 64, std::vector<int32_t>(256), std::vector<float>(256, 1.0F)};
  CacheProfile profile = cache_profile(shape, f16, {64, 16, 4}, tiers, &access);
  CacheSizes sizes = cache_sizes(
      shape,
      {.tokens = 64, .lengths = {16, 64, 4096}, .memories = {{"8kB", 8000}, {"1kB", 1000}}, .weights = 2000});
};

}  // namespace

TEST_CASE("[profile tables] projection: bytes, the tiers it fits in, the model's context") {
  const Case c;
  const auto rows = rows_of(tables::projection_table(c.sizes, {"f16", 64, 500}, c.tiers));
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].at("bytes") == Cell(int64_t{16 * 128}));
  CHECK(rows[0].at("fits_in") == Cell(std::string("fast")));
  CHECK(rows[1].at("bytes") == Cell(int64_t{64 * 64 + 40 * 64}));
  CHECK(rows[1].at("fits_in") == Cell(std::string("fast + slow")));
  CHECK(rows[1].at("within_context") == Cell(std::string("yes")));
  CHECK(rows[1].at("bytes_with_weights") == Cell(int64_t{64 * 64 + 40 * 64 + 500}));
  CHECK(rows[2].at("within_context") == Cell(std::string("no")));
  CHECK(reason_of(rows[2].at("fits_in")) == "more than all tiers hold");
  CHECK(rows_of(tables::projection_dtypes_table(c.sizes)).size() == 3 * cache_types().size());
  const auto none = rows_of(tables::projection_table(c.sizes, {.dtype = "f16"}, c.tiers));
  CHECK(none[0].count("bytes_with_weights") == 0);
  CHECK(none[0].count("within_context") == 0);
  CHECK(none[0].at("size") == Cell(std::string("2 KiB")));
}

TEST_CASE(
    "[profile tables] longest context: a row per memory, a column per dtype, reasons where there is none") {
  const Case c;
  const auto rows = rows_of(tables::longest_context_table(c.sizes));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].at("f16") == Cell(int64_t{(6000 - 40 * 64) / 64}));
  CHECK(rows[0].at("f16") == rows[0].at("bf16"));
  CHECK(reason_of(rows[1].at("f16")) == "the weights alone do not fit");
  CHECK(rows[1].at("memory_bytes") == Cell(int64_t{1000}));
}

TEST_CASE("[profile tables] layers, placements and runs add up to the cache") {
  const Case c;
  const auto layers = rows_of(tables::cache_layers_table(c.shape, c.f16, c.profile, 64));
  CHECK(layers[1].at("kept") == Cell(int64_t{40}));
  CHECK(layers[1].at("blocks") == Cell(int64_t{3}));
  CHECK(layers[1].at("allocated") == Cell(int64_t{3 * 1024}));
  CHECK(reason_of(layers[0].at("window")) == "keeps every token");
  double bytes = 0;
  int64_t in_runs = 0;
  for (const auto& row : rows_of(tables::placement_table(c.profile)))
    if (row.at("placement") == Cell(std::string("access"))) {
      bytes += *number_in(row.at("bytes"));
      const double rate = *number_in(row.at("bytes_per_second"));
      CHECK(*number_in(row.at("time_all")) == doctest::Approx(*number_in(row.at("bytes")) / rate));
    }
  CHECK(bytes == 64 * 64 + 40 * 64);
  for (const auto& row : rows_of(tables::block_runs_table(c.profile, 16, 64)))
    if (row.at("placement") == Cell(std::string("age"))) {
      in_runs += std::get<int64_t>(row.at("blocks"));
      CHECK(std::get<int64_t>(row.at("end_token")) <= 64);
    }
  CHECK(in_runs == 7);
  const auto bound = rows_of(tables::placement_table(c.profile)).back();
  CHECK(bound.at("placement") == Cell(std::string("bound")));
  CHECK_FALSE(reason_of(bound.at("blocks")).empty());
  const CacheProfile unmeasured = cache_profile(c.shape, c.f16, {64, 16, 4}, c.tiers, nullptr);
  const auto by_age = rows_of(tables::placement_table(unmeasured));
  REQUIRE(by_age.size() == 2);
  CHECK(by_age[0].count("demand") == 0);
  CHECK(by_age[0].count("attention") == 0);
}
