// SPDX-License-Identifier: MIT
#include "kvviz/io/hdf5.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>

#include "kvviz/core/file_identity.hpp"
#include "kvviz/io/hdf5_handle.hpp"

namespace kvviz::io {
namespace fs = std::filesystem;
namespace {

constexpr int64_t largest_chunk_bytes = int64_t{8} << 20;
// Deflate cannot shrink data more than about 1,032-fold; what claims more was not written by a compressor.
constexpr int64_t largest_compression = 1100;

herr_t keep_innermost(unsigned, const H5E_error2_t* error, void* out) {
  auto& reason = *static_cast<std::string*>(out);
  if (reason.empty() && error->desc != nullptr) reason = error->desc;
  return 0;
}

Handle half_type(H5T_order_t order, std::string_view context) {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose, context);
  hdf5_checked(H5Tset_fields(type, 15, 10, 5, 0, 10), context);
  hdf5_checked(H5Tset_size(type, 2), context);
  hdf5_checked(H5Tset_ebias(type, 15), context);
  hdf5_checked(H5Tset_order(type, order), context);
  return type;
}

Handle stored_type(Element element, std::string_view context) {
  switch (element) {
    case Element::f16:
      return half_type(H5T_ORDER_LE, context);
    case Element::f32:
      return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose, context};
    case Element::f64:
      return {H5Tcopy(H5T_IEEE_F64LE), H5Tclose, context};
    case Element::i32:
      return {H5Tcopy(H5T_STD_I32LE), H5Tclose, context};
    case Element::i64:
      return {H5Tcopy(H5T_STD_I64LE), H5Tclose, context};
    case Element::other:
      break;
  }
  throw DataError(cat(context, ": kvviz stores f16, f32, f64, i32 and i64 only"));
}

Handle memory_type(Element element, std::string_view context) {
  Handle type = stored_type(element, context);
  hdf5_checked(H5Tset_order(type, H5Tget_order(H5T_NATIVE_INT)), context);
  return type;
}

Element element_of(hid_t type, std::string_view context) {
  for (const Element element : {Element::f16, Element::f32, Element::f64, Element::i32, Element::i64}) {
    const Handle known = stored_type(element, context);
    for (const H5T_order_t order : {H5T_ORDER_LE, H5T_ORDER_BE}) {
      hdf5_checked(H5Tset_order(known, order), context);
      if (hdf5_checked(H5Tequal(type, known), context) > 0) return element;
    }
  }
  return Element::other;
}

std::string describe(hid_t type, Element element) {
  if (element != Element::other) return std::string(element_name(element));
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return cat(H5Tget_size(type), "-byte ", H5Tget_sign(type) == H5T_SGN_NONE ? "unsigned " : "",
                 "integer");
    case H5T_FLOAT:
      return cat(H5Tget_size(type), "-byte float");
    case H5T_STRING:
      return "a string";
    default:
      return "another type";
  }
}

std::vector<hsize_t> chunk_of(std::span<const int64_t> shape, const Hdf5File::Layout& layout,
                              int64_t element_size) {
  std::vector<hsize_t> chunk(shape.begin(), shape.end());
  if (!layout.chunk.empty()) chunk.assign(layout.chunk.begin(), layout.chunk.end());
  int64_t bytes = element_size;
  for (const hsize_t n : chunk) bytes *= static_cast<int64_t>(n);
  for (size_t axis = 0; axis < chunk.size() && bytes > largest_chunk_bytes; ++axis) {
    const int64_t row = bytes / static_cast<int64_t>(chunk[axis]);
    chunk[axis] = static_cast<hsize_t>(std::max<int64_t>(1, largest_chunk_bytes / row));
    bytes = row * static_cast<int64_t>(chunk[axis]);
  }
  return chunk;
}

void start_hdf5() {
  // Files are closed here. HDF5's own closing at exit crashes when a write has failed (a full disk).
  static const herr_t once = H5dont_atexit();
  (void)once;
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Handle access_properties(std::string_view context) {
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, context);
  hdf5_checked(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110), context);
  // Network file systems often refuse locks, and nothing here is written by two at a time.
  hdf5_checked(H5Pset_file_locking(access, false, true), context);
  return access;
}

}  // namespace

bool has_checksums(const fs::path& file) {
  constexpr std::string_view signature = "\x89HDF\r\n\x1a\n";
  constexpr char oldest_with_checksums = 2;  // version of the superblock, the byte after the signature
  std::ifstream in(file, std::ios::binary);
  std::array<char, signature.size() + 1> head{};
  // It stands at byte 0, 512, 1024, 2048 and so on, after what the user put there.
  for (std::streamoff at = 0; in.seekg(at) && in.read(head.data(), head.size());
       at = std::max<std::streamoff>(512, 2 * at))
    if (std::string_view(head.data(), signature.size()) == signature)
      return head.back() >= oldest_with_checksums;
  return false;
}

std::string_view element_name(Element element) {
  constexpr std::array<std::string_view, 6> names = {"f16", "f32", "f64", "i32", "i64", "another type"};
  return names[static_cast<size_t>(element)];
}

int64_t element_bytes(Element element) {
  constexpr std::array<int64_t, 6> bytes = {2, 4, 8, 4, 8, 0};
  return bytes[static_cast<size_t>(element)];
}

Handle::Handle(hid_t id, Close close, std::string_view context)
    : id_(hdf5_checked(id, context)), close_(close) {}

std::string hdf5_reason() {
  std::string reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &reason);
  H5Eclear2(H5E_DEFAULT);
  // What the system said, out of "file write failed: time = ..., error message = 'No space left on device',
  // ...".
  constexpr std::string_view before = "error message = '";
  if (const size_t at = reason.find(before); at != std::string::npos) {
    reason.erase(0, at + before.size());
    reason.erase(std::min(reason.find('\''), reason.size()));
  }
  return reason.empty() ? "no reason given" : reason;
}

std::string Hdf5File::context(const std::string& object, std::string_view what) const {
  return cat(name_, ": ", object, ": ", what);
}

Hdf5File Hdf5File::create(const fs::path& file, const fs::path& shown) {
  start_hdf5();
  const std::string name = (shown.empty() ? file : shown).string(), context = cat("cannot write ", name);
  const Handle access = access_properties(context);
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, context);
  hdf5_checked(H5Pset_obj_track_times(creation, false), context);
  return {hdf5_checked(H5Fcreate(file.c_str(), H5F_ACC_TRUNC, creation, access), context), name};
}

Hdf5File Hdf5File::open(const fs::path& file) {
  start_hdf5();
  require(!fs::is_directory(file), file.string(), " is a folder; expected an HDF5 file");
  require(std::ifstream(file).good(), "cannot read ", file.string(), ": ",
          fs::exists(file) ? "no permission" : "no such file");
  remember_input(file);
  const Handle access = access_properties(file.string());
  const htri_t recognised = H5Fis_hdf5(file.c_str());
  H5Eclear2(H5E_DEFAULT);
  require(recognised > 0, file.string(), " is not an HDF5 file");
  const hid_t id = H5Fopen(file.c_str(), H5F_ACC_RDONLY, access);
  return {hdf5_checked(id, cat(file.string(), " is truncated or damaged")), file.string()};
}

Hdf5File::Hdf5File(Hdf5File&& other) noexcept
    : id_(std::exchange(other.id_, -1)), name_(std::move(other.name_)) {}

Hdf5File::~Hdf5File() {
  if (id_ >= 0) H5Fclose(id_);
  H5Eclear2(H5E_DEFAULT);
}

void Hdf5File::close() {
  hdf5_checked(H5Fflush(id_, H5F_SCOPE_LOCAL), cat("cannot write ", name_));
  hdf5_checked(H5Fclose(std::exchange(id_, -1)), cat("cannot write ", name_));
}

bool Hdf5File::has(const std::string& object) const {
  // H5Lexists needs every group above the last link to exist.
  for (size_t end = object.find('/', 1);; end = object.find('/', end + 1)) {
    const std::string part = object.substr(0, end);
    if (part != "/" &&
        hdf5_checked(H5Lexists(id_, part.c_str(), H5P_DEFAULT), context(part, "cannot be read")) == 0)
      return false;
    if (end == std::string::npos) return true;
  }
}

std::vector<std::string> Hdf5File::members(const std::string& group) const {
  require(has(group), context(group, "the group is missing"));
  const std::string what = context(group, "cannot be read as a group");
  const Handle id(H5Gopen2(id_, group.c_str(), H5P_DEFAULT), H5Gclose, what);
  // In HDF5's own order: asked for by name, it first makes a list of the links, and crashes when a damaged
  // one is found on the way.
  std::vector<std::string> names;
  const auto keep = [](hid_t, const char* name, const auto*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  hdf5_checked(H5Literate(id, H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, keep, &names), what);
  std::sort(names.begin(), names.end());
  return names;
}

bool Hdf5File::is_group(const std::string& object) const {
  const Handle id(H5Oopen(id_, object.c_str(), H5P_DEFAULT), H5Oclose, context(object, "cannot be read"));
  return H5Iget_type(id) == H5I_GROUP;
}

void Hdf5File::make_group(const std::string& group) {
  if (has(group)) return;
  const std::string what = context(group, "cannot be made");
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, what);
  hdf5_checked(H5Pset_create_intermediate_group(links, 1), what);
  const Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, what);
  hdf5_checked(H5Pset_obj_track_times(creation, false), what);
  const Handle made(H5Gcreate2(id_, group.c_str(), links, creation, H5P_DEFAULT), H5Gclose, what);
}

int64_t Hdf5File::Info::count() const {
  int64_t product = 1;
  for (const int64_t n : shape)
    if (__builtin_mul_overflow(product, n, &product)) return std::numeric_limits<int64_t>::max();
  return product;
}

Hdf5File::Info Hdf5File::info(const std::string& dataset) const {
  require(has(dataset), context(dataset, "the dataset is missing"));
  const std::string what = context(dataset, "cannot be read as a dataset");
  const Handle id(H5Dopen2(id_, dataset.c_str(), H5P_DEFAULT), H5Dclose, what);
  const Handle space(H5Dget_space(id), H5Sclose, what);
  const Handle type(H5Dget_type(id), H5Tclose, what);
  const Handle creation(H5Dget_create_plist(id), H5Pclose, what);

  Info info;
  const int rank = hdf5_checked(H5Sget_simple_extent_ndims(space), what);
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  hdf5_checked(H5Sget_simple_extent_dims(space, dims.data(), nullptr), what);
  for (const hsize_t n : dims) {
    require(n <= static_cast<hsize_t>(std::numeric_limits<int64_t>::max()), what, ": it claims ", n,
            " elements");
    info.shape.push_back(static_cast<int64_t>(n));
  }
  info.element = element_of(type, what);
  info.type = describe(type, info.element);
  info.element_size = static_cast<int64_t>(H5Tget_size(type));
  info.stored_bytes = static_cast<int64_t>(H5Dget_storage_size(id));
  info.filtered = H5Pget_nfilters(creation) > 0;
  return info;
}

void Hdf5File::check_stored(const std::string& dataset, const Info& info) const {
  const int64_t size = std::max<int64_t>(info.element_size, 1);
  const int64_t allowed = info.stored_bytes > std::numeric_limits<int64_t>::max() / largest_compression
                              ? 0
                              : info.stored_bytes * (info.filtered ? largest_compression : 1);
  std::error_code ignored;
  const auto file_bytes = fs::file_size(name_, ignored);
  require(info.count() <= allowed / size && info.stored_bytes <= static_cast<int64_t>(file_bytes),
          context(dataset, "it claims "), info.count(), " elements of ", size, " bytes, but the file stores ",
          info.stored_bytes, " bytes for it; the file is damaged or was not written completely");
}

void Hdf5File::write(const std::string& dataset, std::span<const int64_t> shape, Element element,
                     const void* data, const Layout& layout) {
  const std::string what = context(dataset, "cannot be written");
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  const Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose, what);
  const Handle stored = stored_type(element, what);
  const Handle memory = memory_type(element, what);
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, what);
  hdf5_checked(H5Pset_create_intermediate_group(links, 1), what);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, what);
  hdf5_checked(H5Pset_obj_track_times(creation, false), what);
  const bool empty = dims.empty() || std::find(dims.begin(), dims.end(), hsize_t{0}) != dims.end();
  if (!empty) {
    const std::vector<hsize_t> chunk = chunk_of(shape, layout, element_bytes(element));
    hdf5_checked(H5Pset_chunk(creation, static_cast<int>(chunk.size()), chunk.data()), what);
    if (layout.gzip > 0) {
      hdf5_checked(H5Pset_shuffle(creation), what);
      hdf5_checked(H5Pset_deflate(creation, static_cast<unsigned>(layout.gzip)), what);
    }
    hdf5_checked(H5Pset_fletcher32(creation), what);
  }
  const Handle id(H5Dcreate2(id_, dataset.c_str(), stored, space, links, creation, H5P_DEFAULT), H5Dclose,
                  what);
  hdf5_checked(H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data), what);
  hdf5_checked(H5Dflush(id), what);
}

void Hdf5File::read(const std::string& dataset, Element element, void* out) const {
  check_stored(dataset, info(dataset));
  const std::string what = context(dataset, "cannot be read");
  const Handle id(H5Dopen2(id_, dataset.c_str(), H5P_DEFAULT), H5Dclose, what);
  const Handle memory = memory_type(element, what);
  hdf5_checked(H5Dread(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, out), what);
}

}  // namespace kvviz::io
