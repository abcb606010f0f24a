// SPDX-License-Identifier: MIT
#include "kvviz/formats/torch_file.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/formats/pickle.hpp"
#include "kvviz/formats/safetensors.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

const fs::path fixtures = fs::path(KVVIZ_FIXTURES) / "torch";

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// The bytes in the order of the tensor, whatever way the file holds them.
std::string dense(const StoredTensor& tensor) {
  const auto* first = reinterpret_cast<const char*>(tensor.bytes.data());
  if (!tensor.transposed) return {first, tensor.bytes.size()};
  const auto rows = static_cast<size_t>(tensor.shape[0]), columns = static_cast<size_t>(tensor.shape[1]);
  const size_t element = tensor.bytes.size() / (rows * columns);
  std::string bytes;
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c) bytes.append(first + (c * rows + r) * element, element);
  return bytes;
}

void check_same(const StoredTensors& got, const StoredTensors& want) {
  REQUIRE(got.size() == want.size());
  CHECK(want.size() == 18);
  for (const auto& [name, tensor] : want) {
    CAPTURE(name);
    const StoredTensor& other = got.at(name);
    CHECK(other.dtype == tensor.dtype);
    CHECK(other.shape == tensor.shape);
    CHECK(dense(other) == dense(tensor));
  }
}

void check_refused(const char* file, const char* message) {
  CAPTURE(file);
  CHECK_THROWS_WITH_AS(read_torch_file(fixtures / cat(file, ".bin")), doctest::Contains(message), DataError);
}

void check_pickle(const std::string& pickle, const char* message) {
  CHECK_THROWS_WITH_AS(unpickle(as_bytes(pickle), "x.bin"), doctest::Contains(message), DataError);
}

std::string patched(const std::string& file, const std::string& from, const std::string& to) {
  std::string bytes = read_file(fixtures / file);
  const size_t at = bytes.find(from);
  REQUIRE(at != std::string::npos);
  return bytes.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("[torch_file] every dtype, tied weights, slices and transposed matrices are read bit for bit") {
  const StoredTensors expected = read_safetensors(fixtures / "expected.safetensors");
  const StoredTensors tensors = read_torch_file(fixtures / "state_dict.bin");
  check_same(tensors, expected);
  check_same(read_torch_file(fixtures / "protocol4.bin"), expected);
  CHECK(tensors.at("transposed").transposed);
  CHECK_FALSE(tensors.at("one_column").transposed);
  CHECK(tensors.at("head").bytes.data() == tensors.at("tied").bytes.data());  // one storage, not a copy
}

TEST_CASE("[torch_file] no code in a pickle is ever run, and what is refused is named") {
  check_refused("call", "names the Python object posix.getcwd");
  check_refused("call", "no code in a pickle is ever run");
  check_refused("module", "names the Python object torch.nn.modules.linear.Linear");
  check_refused("float8", "names the Python object torch");
  check_refused("legacy", "before PyTorch 1.6");
  check_refused("strided", "a: its strides [6,2] for the shape [4,3]");
  check_refused("nested", "holds state_dict, which is no tensor");
  check_refused("number", "holds step, which is no tensor");
  check_refused("list", "holds no dict");
  check_refused("compressed", "is compressed");
  check_refused("no_storage", "lacks its storage 0");
}

TEST_CASE("[torch_file] lies of the pickle and the archive are found") {
  const auto parse = [](const std::string& bytes) { parse_torch_file(as_bytes(bytes), "x.bin"); };
  const std::string good = read_file(fixtures / "nested.bin");
  CHECK_THROWS_WITH_AS(parse("abc"), doctest::Contains("not a PyTorch file"), DataError);
  CHECK_THROWS_WITH_AS(parse(good.substr(0, good.size() / 2)), doctest::Contains("no central directory"),
                       DataError);
  CHECK_THROWS_WITH_AS(parse("PK" + std::string(100, 'x')), doctest::Contains("truncated"), DataError);
  CHECK_THROWS_WITH_AS(parse(patched("number.bin", "little", "big!!!")), doctest::Contains("big-endian"),
                       DataError);
  // The tensor has 2 x 3 elements: BININT1 2, BININT1 3, TUPLE2.
  CHECK_THROWS_WITH_AS(parse(patched("state_dict.bin", "K\x02K\x03\x86", "K\x7fK\x03\x86")),
                       doctest::Contains("lie outside its storage"), DataError);
  std::string central = good;
  central.replace(central.rfind("PK\x01\x02") + 42, 4, "\xf0\xff\xff\x7f");
  CHECK_THROWS_WITH_AS(parse(central), doctest::Contains("points outside the file"), DataError);
}

TEST_CASE("[pickle] damaged and hostile pickles") {
  check_pickle("", "ends in the middle");
  check_pickle("N", "ends in the middle");
  check_pickle(".", "stops with 0 values");
  check_pickle("N.", "holds no dict");
  check_pickle("}K\x01K\x02s.", "a key that is no text");
  check_pickle("}X\x01", "ends in the middle");
  check_pickle("t.", "lacks a mark");
  check_pickle("a.", "takes a value that is not there");
  check_pickle("(a.", "takes a value that is not there");
  check_pickle("h\x05.", "never kept");
  check_pickle("NNs.", "takes a value that is not there");
  check_pickle("}N(Nu.", "a key without a value");
  check_pickle("cos\nsystem\n.", "names the Python object os.system");
  check_pickle(std::string("\x8c\x02os\x8c\x06system\x93."), "names the Python object os.system");
  check_pickle("ccollections\nOrderedDict\nNR.", "has another value");
  check_pickle("N)R.", "something that is called");
  check_pickle("ctorch._utils\n_rebuild_tensor_v2\n)R.", "lacks a storage");
  check_pickle("i", "uses the opcode 105");
  check_pickle(std::string("\x8a\x09", 2) + std::string(9, 'x') + ".", "more than 64 bits");
  check_pickle(")Q.", "lacks the word storage");
  CHECK(unpickle(as_bytes(std::string("}.")), "x.bin").empty());
}

TEST_CASE(
    "[pickle] depth, values that hold themselves and shapes that are recalled cost no more than their "
    "bytes") {
  // A list in a list a million times, then a list that holds itself, then the empty dict.
  std::string deep = std::string(1000000, ']');
  for (int i = 0; i < 999999; ++i) deep += 'a';
  check_pickle(deep + ".", "holds no dict");
  check_pickle(
      "]q\x01h\x01h\x01"
      "aa.",
      "holds no dict");
  // A tensor of 70 dimensions.
  std::string shape = "(";
  for (int i = 0; i < 70; ++i) shape += "K\x01";
  shape += "tq\x01";
  const std::string storage = "(X\x07" + std::string(3, '\0') + "storagectorch\nFloatStorage\nX\x01" +
                              std::string(3, '\0') + "0NK\x01tQ";
  check_pickle(
      "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + "K" + std::string(1, '\0') + shape + "h\x01tR.",
      "70 dimensions");
}
