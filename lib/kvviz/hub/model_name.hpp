// SPDX-License-Identifier: MIT
#pragma once
#include <string>

namespace kvviz::hub {

/// A model as users name it: "gpt2", "Qwen/Qwen2.5-0.5B", "owner/name@revision", "owner/name:Q4_K_M",
/// "owner/name@revision:model.Q8_0.gguf".
struct ModelName {
  std::string id;                 ///< name or owner/name
  std::string revision = "main";  ///< branch, tag or commit
  std::string gguf;               ///< a GGUF file of the repository, or its quantisation; empty: not given
};

/// Throws UsageError saying what is wrong with the id (letters, digits, _, - and . in both parts, no "--" and
/// "..", at most 96 characters in the name) or the revision (what git allows in a name). Throws as
/// refuse_address().
ModelName parse_model_name(const std::string& text);

/// Throws UsageError where `text` is an address, naming the model of a page of the hub.
void refuse_address(const std::string& text);

/// Whether parse_model_name() accepts the text.
bool is_model_name(const std::string& text);

/// Whether `text` is a whole commit: 40 hexadecimal digits.
bool is_commit(const std::string& text);

/// Throws UsageError unless `revision` may name a branch, a tag or a commit and is safe as a relative path.
void check_revision(const std::string& revision);

/// The id's folder in the cache, "models--owner--name", and back; "" for what is no such folder.
std::string folder_of_id(const std::string& id);
std::string id_of_folder(const std::string& folder);

}  // namespace kvviz::hub
