// SPDX-License-Identifier: MIT
#include "kvviz/formats/gguf_keys.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"

namespace kvviz {

std::string GgufKeys::used(const std::string& key) {
  return *used_.insert(architecture_ + '.' + key).first;
}

bool GgufKeys::has(const std::string& key) {
  return file_.has(used(key));
}
int64_t GgufKeys::integer(const std::string& key) {
  return file_.integer(used(key));
}
int64_t GgufKeys::integer(const std::string& key, int64_t otherwise) {
  return file_.integer(used(key), otherwise);
}
double GgufKeys::number(const std::string& key) {
  return file_.number(used(key));
}
double GgufKeys::number(const std::string& key, double otherwise) {
  return file_.number(used(key), otherwise);
}
std::string GgufKeys::text(const std::string& key, const std::string& otherwise) {
  return file_.text(used(key), otherwise);
}
bool GgufKeys::boolean(const std::string& key, bool otherwise) {
  return file_.boolean(used(key), otherwise);
}

int64_t GgufKeys::same_in_all_layers(const std::string& key) {
  const std::string name = used(key);
  const GgufValue* value = file_.find(name);
  if (value == nullptr || value->type != GgufType::array) return file_.integer(name);
  const std::vector<int64_t> each = file_.integers(name);
  require(!each.empty() && std::all_of(each.begin(), each.end(), [&](int64_t v) { return v == each[0]; }),
          file_.name(), ": ", name, " differs from layer to layer, which is not supported");
  return each.front();
}

int64_t GgufKeys::same_in_all_layers(const std::string& key, int64_t otherwise) {
  return has(key) ? same_in_all_layers(key) : otherwise;
}

void GgufKeys::refuse_rest() const {
  for (const auto& [key, value] : file_.metadata())
    require(!key.starts_with(architecture_ + '.') || used_.contains(key), file_.name(), ": the metadata key ",
            key, " is not supported for this architecture; the model would be run wrongly");
}

const StoredTensor& GgufKeys::tensor(const std::string& name, size_t dimensions) const {
  const auto found = file_.tensors().find(name);
  require(found != file_.tensors().end(), file_.name(), ": lacks the tensor ", name);
  require(found->second.shape.size() == dimensions, file_.name(), ": ", name, " has the shape ",
          shape_text(found->second.shape), "; expected ", dimensions, " dimensions");
  return found->second;
}

}  // namespace kvviz
