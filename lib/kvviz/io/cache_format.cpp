// SPDX-License-Identifier: MIT
#include "kvviz/io/cache_format.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <utf8proc.h>

#include "kvviz/tensor/runtime.hpp"

namespace kvviz::io {

std::string layer_group(size_t index) {
  return fmt::format("/layers/{:04}", index);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t n : shape) text += cat(text.empty() ? "" : ", ", n);
  return cat('[', text, ']');
}

bool is_utf8(const std::string& text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t code = 0;
    const utf8proc_ssize_t used = utf8proc_iterate(bytes, left, &code);
    if (used <= 0) return false;
    bytes += used;
    left -= used;
  }
  return true;
}

Element element_for(at::ScalarType dtype) {
  return dtype == at::kHalf ? Element::f16 : Element::f32;
}

void write_tensor(Hdf5File& out, const std::string& name, const at::Tensor& tensor, int gzip) {
  const at::Tensor stored =
      (tensor.scalar_type() == at::kBFloat16 ? tensor.to(at::kFloat) : tensor).contiguous();
  const auto shape = stored.sizes();
  out.write(name, {shape.data(), shape.size()}, element_for(stored.scalar_type()), stored.data_ptr(),
            {.chunk = {1, shape[1], shape[2]}, .gzip = gzip});
}

Stored check_tensor(const Hdf5File& file, const std::string& name, int64_t tokens, const char* heads) {
  const Hdf5File::Info info = file.info(name);
  const auto where = [&] { return cat(file.name(), ": ", name, ": "); };
  require(info.element == Element::f32 || info.element == Element::f16, where(), "got ", info.type,
          "; expected f32 or f16");
  require(info.shape.size() == 3, where(), "got shape ", shape_text(info.shape), "; expected [", heads,
          ", tokens, head_dim]");
  require(info.shape[1] == tokens, where(), "got shape ", shape_text(info.shape), ", but /tokens/id has ",
          tokens, " tokens; expected [", heads, ", ", tokens, ", head_dim]");
  require(info.count() > 0, where(), "got shape ", shape_text(info.shape), "; no size may be 0");
  file.check_stored(name, info);
  return {info.shape, info.element == Element::f16 ? at::kHalf : at::kFloat};
}

at::Tensor read_tensor(const Hdf5File& file, const std::string& name, const std::vector<int64_t>& shape,
                       at::ScalarType dtype) {
  const at::ScalarType stored = dtype == at::kBFloat16 ? at::kFloat : dtype;
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(stored));
  file.read(name, element_for(dtype), tensor.data_ptr());
  if (dtype != at::kBFloat16) return tensor;

  // bf16 is the upper half of f32, so narrowing by hand is exact, NaN payloads included.
  at::Tensor narrow = at::empty(shape, at::TensorOptions().dtype(at::kBFloat16));
  const auto* from = static_cast<const uint32_t*>(tensor.data_ptr());
  auto* to = static_cast<uint16_t*>(narrow.data_ptr());
  uint32_t lost = 0;
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    to[i] = static_cast<uint16_t>(from[i] >> 16);
    lost |= from[i] & 0xffffU;
  }
  require(lost == 0, file.name(), ": ", name, ": it is recorded as bf16 but holds values that bf16 cannot; ",
          "record it as f32, or round it to bf16 first");
  return narrow;
}

}  // namespace kvviz::io
