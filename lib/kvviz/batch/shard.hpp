// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>

namespace kvviz::batch {

/// One part of a run whose texts are shared out: text k is this part's when k mod `count` is `index`.
struct Shard {
  int64_t index = 0, count = 1;
  bool owns(int64_t text) const { return text % count == index; }
  bool operator==(const Shard&) const = default;
};

/// "3/8": shard 3 of the shards 0 to 7. "auto": what the launcher says in the environment, the first of
///   SLURM_ARRAY_TASK_ID of SLURM_ARRAY_TASK_COUNT tasks, counted from SLURM_ARRAY_TASK_MIN in steps of
///   SLURM_ARRAY_TASK_STEP (a Slurm job array);
///   OMPI_COMM_WORLD_RANK of OMPI_COMM_WORLD_SIZE (Open MPI); PMI_RANK of PMI_SIZE (MPICH, Intel MPI);
///   SLURM_PROCID of SLURM_NTASKS (srun).
/// "": the whole run. Throws UsageError for anything else, and for auto without such a launcher.
Shard parse_shard(const std::string& text);

}  // namespace kvviz::batch
