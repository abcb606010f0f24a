// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <cstdint>

#include "kvviz/options.hpp"

namespace kvviz {

/// Adds the fields of an options struct (its static `fields`) as options of the command.
template <class Options>
void bind_fields(CLI::App& app, Options& options, const char* group) {
  Options::fields(options, [&](auto& field, const char* name, const char* meaning) {
    app.add_option(std::string("--") + name, field, meaning)->group(group);
  });
}

/// Refuses "": an unset shell variable must not pass for a choice.
CLI::Validator not_empty();

/// A number no less than `least`: "got 0, expected 1 or more"; shown as "1.." in the help.
CLI::Validator at_least(int64_t least);
/// A number greater than `bound`: "got 0, expected more than 0"; shown as ">0" in the help.
CLI::Validator above(int64_t bound);
/// A number of a range: "got 3, expected 0 to 1"; shown as "0..1" in the help.
CLI::Validator between(double least, double most);

/// Takes blanks off both ends of a value: "layers, heads" is two of them.
CLI::Validator trimmed();

/// A budget of policies, in the one spelling that policy::parse_budget() gives it. Throws as that does.
CLI::Validator budget();

/// Groups of options that say nothing of what is computed.
inline constexpr const char* output_group = "Output";
inline constexpr const char* batch_group = "Batch";

/// What an option takes, as its type_name(): FILE, DIR, MODEL (a folder, a file, a hub id in the cache or
/// demo), ID (such a hub id), or names in braces, of which a list takes several. The help, the manual pages
/// and the shells' completion read it there; CLI::IsMember and CLI::ExistingFile put theirs in the same
/// place.
inline constexpr const char* policy_names =
    "TEXT:{all,full,window,streaming_llm,h2o,h2o:mask,h2o:fullrow,h2o:global,lru,tova,snapkv,pyramidkv,adakv,"
    "knorm,keydiff,lagkv,expected_attention,random,oracle}";

/// --model alone, for commands that load no weights.
void bind_model_name(CLI::App& app, ModelOptions& options);
void bind(CLI::App& app, ModelOptions& options);
void bind(CLI::App& app, TextOptions& options);
void bind(CLI::App& app, TextsOptions& options);
void bind(CLI::App& app, BatchOptions& options);
void bind(CLI::App& app, EvictionOptions& options);
void bind(CLI::App& app, OutputOptions& options);

}  // namespace kvviz
