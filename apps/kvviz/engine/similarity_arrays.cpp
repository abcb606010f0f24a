// SPDX-License-Identifier: MIT
#include "kvviz/engine/similarity_arrays.hpp"

#include <cmath>

#include "kvviz/io/result_file.hpp"

namespace kvviz {
namespace {

using analysis::SimilaritySide;

void add_square(io::ArrayFileWriter& file, const std::string& name, const char* axis, const char* meaning,
                const std::vector<double>& values) {
  if (values.empty()) return;
  const auto n = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(values.size()))));
  const int64_t shape[] = {n, n};
  file.add({name, {axis, axis}, "", meaning}, shape, values);
}

void add_tree(io::ArrayFileWriter& file, const std::string& name, const analysis::Grouping& tree) {
  if (tree.merges.empty()) return;
  std::vector<double> rows;
  for (const auto& merge : tree.merges)
    rows.insert(rows.end(),
                {static_cast<double>(merge.left), static_cast<double>(merge.right), merge.similarity});
  const int64_t shape[] = {std::ssize(tree.merges), 3};
  file.add({name,
            {"merge", "left_right_similarity"},
            "",
            "complete linkage: groups by their first items, joined in this order"},
           shape, rows);
}

void add_side(io::ArrayFileWriter& file, const std::string& half, const SimilaritySide& side,
              int64_t positions) {
  add_square(file, "layers/" + half + "_excess", "layer", "CKA above chance", side.layer_excess);
  add_square(file, "layers/" + half + "_overlap", "layer", "mean cos^2 of the principal angles",
             side.layer_overlap);
  add_square(file, "heads/" + half + "_excess", "layer_and_head",
             "CKA above chance, rows as in the table heads", side.head_excess);
  add_tree(file, "layers/" + half + "_tree", side.layers);
  add_tree(file, "heads/" + half + "_tree", side.heads);
  add_square(file, "channels/" + half + "_r", "channel", "Pearson r over the tokens, of the head drawn",
             side.picked);
  add_square(file, "tokens/" + half + "_cosine", "position", "cosine of tokens, less their mean",
             side.token_cosine);
  const int64_t shape[] = {positions, side.dim};
  file.add({"tokens/" + half + "_magnitude", {"position", "channel"}, "", "mean |x| over layers and heads"},
           shape, side.token_channels);
}

}  // namespace

void write_similarity_arrays(const std::filesystem::path& path, const analysis::SimilarityResult& result) {
  io::ArrayFileWriter file(path, "analyze_similarity");
  const int64_t positions[] = {std::ssize(result.positions)};
  file.add({"tokens/position", {"position"}, "tokens", "positions in the text"}, positions, result.positions);
  add_side(file, "k", result.key, positions[0]);
  add_side(file, "v", result.value, positions[0]);
  add_square(file, "query_heads/attention", "layer_and_head",
             "1 - Jensen-Shannon distance of where they look, rows as in the table query_heads",
             result.attention);
  file.commit();
}

}  // namespace kvviz
