// SPDX-License-Identifier: MIT
#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <set>

#include "kvviz/core/error.hpp"
#include "kvviz/formats/gguf.hpp"

namespace kvviz {
namespace {

constexpr uint32_t magic = 0x46554747;  // "GGUF"
constexpr int deepest_array = 8;
constexpr size_t most_arrays = 1 << 16;  // arrays within arrays, over the whole file
constexpr uint64_t longest_key = 65535, most_dimensions = 4;

constexpr GgmlDtype ggml_dtypes[] = {
    {0, "F32", {1, 4}},         {1, "F16", {1, 2}},         {2, "Q4_0", {32, 18}},
    {3, "Q4_1", {32, 20}},      {6, "Q5_0", {32, 22}},      {7, "Q5_1", {32, 24}},
    {8, "Q8_0", {32, 34}},      {9, "Q8_1", {32, 36}},      {10, "Q2_K", {256, 84}},
    {11, "Q3_K", {256, 110}},   {12, "Q4_K", {256, 144}},   {13, "Q5_K", {256, 176}},
    {14, "Q6_K", {256, 210}},   {15, "Q8_K", {256, 292}},   {16, "IQ2_XXS", {256, 66}},
    {17, "IQ2_XS", {256, 74}},  {18, "IQ3_XXS", {256, 98}}, {19, "IQ1_S", {256, 50}},
    {20, "IQ4_NL", {32, 18}},   {21, "IQ3_S", {256, 110}},  {22, "IQ2_S", {256, 82}},
    {23, "IQ4_XS", {256, 136}}, {24, "I8", {1, 1}},         {25, "I16", {1, 2}},
    {26, "I32", {1, 4}},        {27, "I64", {1, 8}},        {28, "F64", {1, 8}},
    {29, "IQ1_M", {256, 56}},   {30, "BF16", {1, 2}},       {34, "TQ1_0", {256, 54}},
    {35, "TQ2_0", {256, 66}},   {39, "MXFP4", {32, 17}},
};

// Bytes of one number of metadata; 0 for texts and arrays.
uint64_t element_bytes(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::text:
    case GgufType::array:
      break;
  }
  return 0;
}

}  // namespace

class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes) {
    file_.name_ = name;
  }

  GgufFile parse() {
    check_version();
    const auto tensors = number<uint64_t>("the number of tensors");
    const auto keys = number<uint64_t>("the number of metadata keys");
    check_count(tensors, 24, "tensors");
    check_count(keys, 13, "metadata keys");
    for (uint64_t i = 0; i < keys; ++i) read_entry();
    std::vector<Extent> extents;
    for (uint64_t i = 0; i < tensors; ++i) extents.push_back(read_tensor());
    if (!extents.empty()) place(extents);
    return std::move(file_);
  }

 private:
  void check_version() {
    require(bytes_.size() >= 24, file_.name_, ": got ", bytes_.size(), " bytes; a GGUF file has at least 24");
    require(number<uint32_t>("the magic") == magic, file_.name_,
            ": not a GGUF file: it does not begin with GGUF");
    file_.version_ = number<uint32_t>("the version");
    const bool swapped = file_.version_ != 0 && (file_.version_ & 0xffff) == 0;
    require(!swapped, file_.name_,
            ": a big-endian GGUF file; only little-endian ones are read: convert the model again without "
            "--bigendian");
    require(file_.version_ == 2 || file_.version_ == 3, file_.name_, ": GGUF version ", file_.version_,
            "; supported: 2 and 3", file_.version_ == 1 ? "; convert the model again" : "");
  }

  std::span<const std::byte> take(uint64_t count, const std::string& what) {
    require(count <= bytes_.size() - at_, file_.name_, ": ", what, " takes ", count, " bytes, ",
            bytes_.size() - at_, " are left; the file is truncated or damaged");
    const auto part = bytes_.subspan(at_, count);
    at_ += count;
    return part;
  }

  template <class T>
  T number(const std::string& what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  // Each of the things takes at least `least` bytes, so more than that cannot be meant.
  void check_count(uint64_t count, uint64_t least, const std::string& what) const {
    require(count <= (bytes_.size() - at_) / least, file_.name_, ": claims ", count, ' ', what, ", but only ",
            bytes_.size() - at_, " bytes are left; the file is truncated or damaged");
  }

  std::string_view text(const std::string& what) {
    const auto part = take(number<uint64_t>(what), what);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  GgufType type(const std::string& what) {
    const auto number_of_type = number<uint32_t>(cat("the type of ", what));
    require(number_of_type <= static_cast<uint32_t>(GgufType::f64), file_.name_, ": ", what,
            " has the unknown type ", number_of_type);
    return static_cast<GgufType>(number_of_type);
  }

  void read_entry() {
    const auto key = std::string(text(cat("metadata key ", file_.metadata_.size())));
    require(!key.empty() && key.size() <= longest_key, file_.name_, ": a metadata key of ", key.size(),
            " bytes");
    const bool fresh = file_.metadata_.emplace(key, value(type(key), key, 0)).second;
    require(fresh, file_.name_, ": the metadata key ", key, " stands twice");
  }

  GgufValue value(GgufType type, const std::string& key, int depth) {
    const auto whole = [&]<class T>(T) { return GgufValue{type, int64_t{number<T>(key)}}; };
    switch (type) {
      case GgufType::u8:
        return whole(uint8_t{});
      case GgufType::i8:
        return whole(int8_t{});
      case GgufType::u16:
        return whole(uint16_t{});
      case GgufType::i16:
        return whole(int16_t{});
      case GgufType::u32:
        return whole(uint32_t{});
      case GgufType::i32:
        return whole(int32_t{});
      case GgufType::i64:
        return whole(int64_t{});
      case GgufType::u64:
        return {type, number<uint64_t>(key)};
      case GgufType::f32:
        return {type, double{number<float>(key)}};
      case GgufType::f64:
        return {type, number<double>(key)};
      case GgufType::boolean:
        return {type, boolean(number<uint8_t>(key), key)};
      case GgufType::text:
        return {type, text(key)};
      case GgufType::array:
        break;
    }
    return {type, array(key, depth)};
  }

  bool boolean(uint8_t byte, const std::string& key) const {
    require(byte <= 1, file_.name_, ": ", key, " holds ", int{byte}, " where 0 or 1 is expected");
    return byte == 1;
  }

  GgufArray array(const std::string& key, int depth) {
    require(depth < deepest_array && ++arrays_ <= most_arrays, file_.name_, ": ", key,
            " holds too many arrays within arrays");
    GgufArray result;
    result.element = type(key);
    result.count = number<uint64_t>(cat("the length of ", key));
    if (const uint64_t each = element_bytes(result.element); each > 0) {
      check_count(result.count, each, cat("elements of ", key));
      result.numbers = take(result.count * each, key);
      if (result.element == GgufType::boolean)
        for (const std::byte byte : result.numbers) boolean(std::to_integer<uint8_t>(byte), key);
    } else if (result.element == GgufType::text) {
      check_count(result.count, 8, cat("elements of ", key));
      result.texts.reserve(result.count);
      for (uint64_t i = 0; i < result.count; ++i) result.texts.push_back(text(key));
    } else {
      check_count(result.count, 12, cat("elements of ", key));
      for (uint64_t i = 0; i < result.count; ++i)
        result.arrays.push_back({GgufType::array, array(key, depth + 1)});
    }
    return result;
  }

  // The tensor without its bytes, and where they lie in the data.
  Extent read_tensor() {
    Extent extent{std::string(text(cat("the name of tensor ", file_.tensors_.size())))};
    const std::string& name = extent.name;
    StoredTensor tensor;
    const auto dimensions = number<uint32_t>(name);
    require(dimensions <= most_dimensions, file_.name_, ": ", name, " has ", dimensions,
            " dimensions; a GGUF tensor has at most ", most_dimensions);
    for (uint32_t i = 0; i < dimensions; ++i)
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(number<uint64_t>(name)));
    const auto type_number = number<uint32_t>(name);
    extent.begin = number<uint64_t>(name);
    const GgmlDtype* dtype = ggml_dtype(type_number);
    require(dtype != nullptr, file_.name_, ": ", name, " has the unknown type ", type_number);
    const auto size = bytes_of(tensor.shape, dtype->layout);
    require(size.has_value() && !__builtin_add_overflow(extent.begin, *size, &extent.end), file_.name_, ": ",
            name, " of type ", dtype->name, " has the impossible shape ", shape_text(tensor.shape),
            " (rows are whole blocks of ", dtype->layout.elements, ')');
    tensor.dtype = dtype->name;
    require(file_.tensors_.emplace(name, std::move(tensor)).second, file_.name_, ": the tensor ", name,
            " stands twice");
    return extent;
  }

  void place(std::vector<Extent>& extents) {
    const int64_t given = file_.integer("general.alignment", 32);
    require(given > 0 && given <= (1 << 20) && std::has_single_bit(static_cast<uint64_t>(given)), file_.name_,
            ": general.alignment is ", given, "; expected a power of two up to 1048576");
    const auto alignment = static_cast<uint64_t>(given);
    const uint64_t start = (at_ + alignment - 1) / alignment * alignment;
    const auto data = bytes_.subspan(std::min<uint64_t>(start, bytes_.size()));
    for (const Extent& extent : extents) {
      require(extent.begin % alignment == 0, file_.name_, ": ", extent.name, " begins at byte ", extent.begin,
              " of the data, which is no multiple of the alignment ", alignment);
      require(extent.end <= data.size(), file_.name_, ": the bytes [", extent.begin, ", ", extent.end,
              ") of ", extent.name, " lie outside the ", data.size(),
              " bytes of data; the file is truncated or damaged");
      file_.tensors_.at(extent.name).bytes = data.subspan(extent.begin, extent.end - extent.begin);
    }
    check_apart(extents, file_.name_);
  }

  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
  size_t arrays_ = 0;
  GgufFile file_;
};

GgufFile GgufFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  return GgufParser(bytes, name).parse();
}

GgufFile GgufFile::open(const std::filesystem::path& path) {
  const auto mapped = std::make_shared<const MappedFile>(path);
  GgufFile file = parse(mapped->bytes(), path.string());
  file.file_ = mapped;
  file.files_ = {path};
  for (auto& [name, tensor] : file.tensors_) tensor.file = mapped;
  return file;
}

const GgmlDtype* ggml_dtype(uint32_t number) {
  const auto* found = std::find_if(std::begin(ggml_dtypes), std::end(ggml_dtypes),
                                   [&](const GgmlDtype& dtype) { return dtype.number == number; });
  return found == std::end(ggml_dtypes) ? nullptr : found;
}

const GgmlDtype* ggml_dtype(std::string_view name) {
  const auto* found = std::find_if(std::begin(ggml_dtypes), std::end(ggml_dtypes),
                                   [&](const GgmlDtype& dtype) { return dtype.name == name; });
  return found == std::end(ggml_dtypes) ? nullptr : found;
}

}  // namespace kvviz
