// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

namespace kvviz::test {

/// Runs `kvviz COMMAND ...` (three texts or more, --no-plots is added) as a whole with four workers, with
/// one, in three shards that are merged in another order, cut off in the middle of a record and resumed, and
/// finished and resumed. Fails the test unless results/COMMAND.json and .h5, command line included, are the
/// same bytes each time.
void check_batch(const std::vector<std::string>& arguments);

/// Runs the command over prompts of which the second cannot be used: the text is named in failed_texts, the
/// others are measured, and --strict ends with 1. `arguments` without texts.
void check_failing_text(const std::vector<std::string>& arguments);

}  // namespace kvviz::test
