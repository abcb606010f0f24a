// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/text_run.hpp"
#include "kvviz/tables/over_texts.hpp"

namespace kvviz {

/// What a command's results of many texts have in common, and what of it is drawn. Facts, tables and columns
/// that a run does not have are left out.
struct BatchLayout {
  /// A column of a table, of the rows of one side alone where `side` says which (column `side`).
  struct Source {
    std::string table, column, side{};
  };
  struct FactPanel {
    std::string fact, title, y_label;
    std::optional<double> least{}, most{};  ///< that the fact can be
  };
  struct Curve {
    Source of;
    std::string label;
    plot::Colour colour;
  };
  struct LayerPanel {
    std::string title, y_label;
    std::vector<Curve> curves;  ///< of tables with a row for each `layer`
  };
  struct HeadPanel {
    Source of;          ///< a table with a row for each `layer` and head
    std::string heads;  ///< the head's column: head, kv_head
    std::string title, x_label, z_label;
    std::optional<double> least{}, most{};  ///< ends of the colours
  };
  tables::OverTextsOptions over;
  std::vector<FactPanel> facts;
  std::vector<LayerPanel> layers;
  std::vector<HeadPanel> heads;
};

/// The record of a text: the summary, and the tables that are put together over texts.
nlohmann::json text_record(Result result, const BatchLayout& layout);

struct BatchDelivery {
  const char* command;
  const CallOptions& call;
  const OutputOptions& output;
  std::vector<Gate> gates;
  nlohmann::ordered_json options;  ///< effective ones, for provenance
  std::vector<std::string> shown_tables;
};

/// Puts the texts of a whole run together, from their records alone, and delivers the result. Returns the
/// exit code.
int deliver_over_texts(const TextRun& texts, const BatchLayout& layout, BatchDelivery delivery);

/// The effective text options of a command that takes one text where nothing else is said.
void add_text_options(nlohmann::ordered_json& effective, const TextsOptions& options);

}  // namespace kvviz
