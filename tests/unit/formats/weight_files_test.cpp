// SPDX-License-Identifier: MIT
#include "kvviz/formats/weight_files.hpp"

#include <doctest/doctest.h>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;

TEST_CASE("[weight_files] safetensors before PyTorch before GGUF, one file before shards") {
  const test::TemporaryFolder folder;
  CHECK_FALSE(find_weights(folder.path()));
  CHECK_FALSE(find_weights(folder / "absent"));
  CHECK_FALSE(gguf_of(folder.path()));
  write_file(folder / "small.gguf", "");
  CHECK(gguf_of(folder.path()) == folder / "small.gguf");
  CHECK(gguf_of(folder / "small.gguf") == folder / "small.gguf");
  const struct {
    const char* file;
    WeightFormat format;
    bool sharded;
  } order[] = {{"pytorch_model.bin.index.json", WeightFormat::torch, true},
               {"pytorch_model.bin", WeightFormat::torch, false},
               {"model.safetensors.index.json", WeightFormat::safetensors, true},
               {"model.safetensors", WeightFormat::safetensors, false}};
  for (const auto& next : order) {
    write_file(folder / next.file, "");
    const auto found = find_weights(folder.path());
    REQUIRE(found);
    CHECK(found->file == folder / next.file);
    CHECK(found->format == next.format);
    CHECK(found->sharded == next.sharded);
    CHECK_FALSE(gguf_of(folder.path()));
  }
}

TEST_CASE("[weight_files] several GGUF files have to be told apart") {
  const test::TemporaryFolder folder;
  write_file(folder / "b.gguf", "");
  write_file(folder / "a.gguf", "");
  CHECK_THROWS_WITH_AS(find_weights(folder.path()), doctest::Contains("several GGUF files: a.gguf, b.gguf"),
                       DataError);
}

TEST_CASE("[weight_files] the parts of a GGUF model are one model, found by the first") {
  const test::TemporaryFolder folder;
  const auto first = folder / "m-00001-of-00003.gguf";
  write_file(folder / "m-00003-of-00003.gguf", "");
  CHECK_THROWS_WITH_AS(find_weights(folder.path()), doctest::Contains("m-00001-of-00003.gguf is missing; "),
                       DataError);
  write_file(first, "");
  CHECK(gguf_of(folder.path()) == first);
  write_file(folder / "n-00002-of-00002.gguf", "");
  CHECK_THROWS_WITH_AS(
      find_weights(folder.path()),
      doctest::Contains("several GGUF files: m-00001-of-00003.gguf, n-00001-of-00002.gguf; name"), DataError);
}
