// SPDX-License-Identifier: MIT
#include "kvviz/batch/shard.hpp"

#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "kvviz/core/error.hpp"

namespace kvviz::batch {
namespace {

std::optional<int64_t> whole(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

struct Launcher {
  const char *index, *count;
  const char *first = nullptr, *step = nullptr;  ///< of the indices; null: 0 and 1
};

constexpr std::array launchers{Launcher{"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT",
                                        "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"},
                               Launcher{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                               Launcher{"PMI_RANK", "PMI_SIZE"}, Launcher{"SLURM_PROCID", "SLURM_NTASKS"}};

int64_t environment_number(const char* name, std::optional<int64_t> otherwise) {
  const char* text = name == nullptr ? nullptr : std::getenv(name);
  if (text == nullptr && otherwise) return *otherwise;
  const auto number = whole(text == nullptr ? "" : text);
  require<UsageError>(number.has_value(), "--shard auto: ", name, " is ",
                      text == nullptr ? std::string("not set") : cat("\"", text, "\", not a number"));
  return *number;
}

Shard from_environment() {
  for (const Launcher& launcher : launchers) {
    if (std::getenv(launcher.index) == nullptr) continue;
    const int64_t step = environment_number(launcher.step, 1);
    const int64_t index = environment_number(launcher.index, {}) - environment_number(launcher.first, 0);
    const Shard shard{.index = step > 0 ? index / step : -1, .count = environment_number(launcher.count, {})};
    require<UsageError>(shard.index >= 0 && shard.index < shard.count && index % step == 0,
                        "--shard auto: ", launcher.index, "=", std::getenv(launcher.index), " is none of ",
                        launcher.count, "=", shard.count, " tasks; give the shard, as in --shard 3/8");
    return shard;
  }
  throw UsageError(
      "--shard auto: no launcher has numbered this process (SLURM_ARRAY_TASK_ID, OMPI_COMM_WORLD_RANK, "
      "PMI_RANK "
      "and SLURM_PROCID are not set); give the shard, as in --shard 3/8");
}

}  // namespace

Shard parse_shard(const std::string& text) {
  if (text.empty()) return {};
  if (text == "auto") return from_environment();
  const size_t slash = text.find('/');
  const std::string_view all = text;
  const int64_t index = whole(all.substr(0, slash)).value_or(-1);
  const int64_t count = slash == std::string::npos ? -1 : whole(all.substr(slash + 1)).value_or(-1);
  require<UsageError>(index >= 0 && count >= 1, "--shard ", text,
                      ": expected a shard and their number, 0/8 to 7/8, or auto");
  require<UsageError>(index < count, "--shard ", text, ": the shards are 0/", count, " to ", count - 1, "/",
                      count);
  return {index, count};
}

}  // namespace kvviz::batch
