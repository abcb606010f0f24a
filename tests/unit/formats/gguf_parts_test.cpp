// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "support/errors.hpp"
#include "support/gguf_writer.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::GgufWriter;
using test::holds;
using test::message_of;
namespace fs = std::filesystem;

namespace {

// A part as llama-gguf-split writes it, of a model of three tensors in three files.
struct Part {
  uint32_t no, count = 3, tensors = 3;
};
GgufWriter part(const Part& claims, const std::string& tensor) {
  GgufWriter file;
  file.u32("split.no", claims.no);
  file.u32("split.count", claims.count);
  file.u32("split.tensors.count", claims.tensors);
  file.tensor(tensor, {1}, {static_cast<float>(claims.no)});
  return file;
}

class Model {
 public:
  Model() {
    for (const uint32_t no : {0U, 1U, 2U}) part({no}, cat("t", no)).write(file(no));
  }
  fs::path file(uint32_t no) const { return folder_ / cat("m-0000", no + 1, "-of-00003.gguf"); }
  GgufFile open() const { return GgufFile::open_model(file(0)); }
  std::string refusal() const {
    return message_of<DataError>([&] { open(); });
  }

 private:
  test::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("[gguf] the tensors of all parts, each in its own file") {
  const Model model;
  const GgufFile file = model.open();
  CHECK(file.files() == std::vector<fs::path>{model.file(0), model.file(1), model.file(2)});
  REQUIRE(file.tensors().size() == 3);
  for (const char* name : {"t0", "t1", "t2"}) {
    const StoredTensor& tensor = file.tensors().at(name);
    float value = -1;
    std::memcpy(&value, tensor.bytes.data(), sizeof(value));
    CHECK(value == static_cast<float>(name[1] - '0'));
    CHECK(tensor.file != nullptr);
  }
}

TEST_CASE("[gguf] a model in one file is that file, whatever its name") {
  const test::TemporaryFolder folder;
  for (const uint32_t count : {0U, 1U}) {
    part({.no = 0, .count = count, .tensors = 1}, "t").write(folder / "m-00002-of-00003.gguf");
    const GgufFile file = GgufFile::open_model(folder / "m-00002-of-00003.gguf");
    CHECK(file.tensors().size() == 1);
    CHECK(file.files().size() == 1);
  }
}

TEST_CASE("[gguf] the first part has to be named, and parts to be called as parts") {
  const Model model;
  CHECK(holds(message_of<DataError>([&] { GgufFile::open_model(model.file(2)); }),
              "part 3 of 3 of a model; name the first: --model " + model.file(0).string()));
  const test::TemporaryFolder folder;
  for (const char* name : {"m.gguf", "m-00001-of-00002.gguf"}) {
    fs::copy_file(model.file(0), folder / name);
    CHECK_THROWS_WITH_AS(GgufFile::open_model(folder / name), doctest::Contains("one of 3 files of a model"),
                         DataError);
  }
}

TEST_CASE("[gguf] parts that are missing, renamed or of another model are refused by name") {
  const Model model;
  const std::string second = model.file(1).string();
  const auto refused_with = [&](const GgufWriter& instead, const std::string& message) {
    instead.write(second);
    CHECK(holds(model.refusal(), second + ": " + message));
  };
  refused_with(part({2}, "t1"), "split.no is 2; expected 1");
  refused_with(part({.no = 1, .count = 4}, "t1"), "split.count is 4; expected 3");
  refused_with(part({.no = 1, .tensors = 2}, "t1"), "split.tensors.count is 2; expected 3");
  refused_with(part({1}, "t0"), "t0 is also in another part");
  refused_with(GgufWriter(), "the metadata lack split.no");
  fs::remove(second);
  CHECK(holds(model.refusal(), second + " is missing; "));
  GgufWriter more = part({1}, "t1");
  more.tensor("t3", {1}, {0});
  more.write(second);
  CHECK(holds(model.refusal(), "hold 4 tensors; split.tensors.count says 3"));
  part({1}, "t0").write(model.file(0));
  CHECK(holds(model.refusal(), model.file(0).string() + ": split.no is 1; expected 0"));
}
