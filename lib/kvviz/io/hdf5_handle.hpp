// SPDX-License-Identifier: MIT
#pragma once
#include <hdf5.h>

#include <string>
#include <string_view>
#include <utility>

#include "kvviz/core/error.hpp"

namespace kvviz::io {

/// An HDF5 identifier that is closed with its own function. Private to io.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  /// Throws DataError with `context` and HDF5's own reason when the call that made `id` failed.
  Handle(hid_t id, Close close, std::string_view context);
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  Close close_;
};

/// HDF5's reason for the last failure: the description nearest to its cause, or "no reason given". Clears it.
std::string hdf5_reason();

/// Throws DataError with `context` and hdf5_reason() when `result` is negative.
template <class T>
T hdf5_checked(T result, std::string_view context) {
  if (result < 0) throw DataError(cat(context, ": ", hdf5_reason()));
  return result;
}

/// A UTF-8 string type: `bytes` long and zero-padded, or of variable length when `bytes` is 0.
Handle string_type(size_t bytes, std::string_view context);

/// `text` with each zero byte spelt "<0x00>", for strings that end at the first zero byte.
std::string without_zero_bytes(std::string_view text);

}  // namespace kvviz::io
