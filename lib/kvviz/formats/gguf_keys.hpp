// SPDX-License-Identifier: MIT
#pragma once
#include <set>
#include <string>

#include "kvviz/formats/gguf.hpp"

namespace kvviz {

/// The metadata of a GGUF model under "<architecture>.": what is read is remembered, so that what nobody has
/// read can be refused. Throws DataError naming file and key.
class GgufKeys {
 public:
  explicit GgufKeys(const GgufFile& file) : file_(file), architecture_(file.text("general.architecture")) {}

  const GgufFile& file() const { return file_; }
  const std::string& architecture() const { return architecture_; }

  bool has(const std::string& key);
  int64_t integer(const std::string& key);
  int64_t integer(const std::string& key, int64_t otherwise);
  double number(const std::string& key);
  double number(const std::string& key, double otherwise);
  std::string text(const std::string& key, const std::string& otherwise);
  bool boolean(const std::string& key, bool otherwise);
  /// An integer, or an array of equal ones: values of each layer, which have to be the same.
  int64_t same_in_all_layers(const std::string& key);
  int64_t same_in_all_layers(const std::string& key, int64_t otherwise);
  /// Throws DataError naming the first key of the architecture that nothing has asked for.
  void refuse_rest() const;

  bool has_tensor(const std::string& name) const { return file_.tensors().contains(name); }
  /// Throws DataError where there is none of that many dimensions.
  const StoredTensor& tensor(const std::string& name, size_t dimensions) const;

 private:
  std::string used(const std::string& key);

  const GgufFile& file_;
  std::string architecture_;
  std::set<std::string> used_;
};

}  // namespace kvviz
