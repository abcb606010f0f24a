// SPDX-License-Identifier: MIT
#include "kvviz/io/result_file.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/hdf5.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace kvviz::io {
namespace {
namespace fs = std::filesystem;
using test::holds;
using test::message_of;
using test::TemporaryFolder;
using Shape = std::vector<int64_t>;

void write_example(const fs::path& file) {
  ArrayFileWriter out(file, "analyze");
  const std::vector<double> mass = {0.5,    -0.0, std::nan(""), std::numeric_limits<double>::infinity(),
                                    1e-300, 3};
  out.add({"attention/mass", {"layer", "key"}, "", "column mass"}, Shape{2, 3}, std::span(mass));
  const std::vector<float> rms = {1.5F, 2.5F};
  out.add({"rms", {"layer"}, "1", ""}, Shape{2}, std::span(rms));
  const std::vector<int32_t> counts = {1, -2, 3, 4};
  out.add({"attention/counts", {"a", "b", "c"}, "tokens", ""}, Shape{1, 2, 2}, std::span(counts));
  const std::vector<int64_t> steps = {int64_t{1} << 40};
  out.add({"steps", {}, "", ""}, Shape{}, std::span(steps));
  out.add({"nothing", {"x"}, "", ""}, Shape{0}, std::span<const float>{});
  out.commit();
}

TEST_CASE("[result_file] arrays come back with values, shape, axes, unit and meaning") {
  const TemporaryFolder folder;
  const fs::path file = folder / "results/analyze.h5";
  write_example(file);
  CHECK(list_arrays(file) ==
        std::vector<std::string>{"attention/counts", "attention/mass", "nothing", "rms", "steps"});

  const NamedArray mass = read_array(file, "attention/mass");
  CHECK(mass.shape == Shape{2, 3});
  CHECK(mass.meta.axes == std::vector<std::string>{"layer", "key"});
  CHECK(mass.meta.unit == "");
  CHECK(mass.meta.meaning == "column mass");
  const auto& values = std::get<std::vector<double>>(mass.values);
  REQUIRE(values.size() == 6);
  CHECK(values[0] == 0.5);
  CHECK(std::signbit(values[1]));
  CHECK(std::isnan(values[2]));
  CHECK(std::isinf(values[3]));
  CHECK(values[4] == 1e-300);

  CHECK(std::get<std::vector<float>>(read_array(file, "rms").values) == std::vector<float>{1.5F, 2.5F});
  CHECK(std::get<std::vector<int32_t>>(read_array(file, "attention/counts").values) ==
        std::vector<int32_t>{1, -2, 3, 4});
  CHECK(read_array(file, "attention/counts").meta.unit == "tokens");
  CHECK(std::get<std::vector<int64_t>>(read_array(file, "steps").values) ==
        std::vector<int64_t>{int64_t{1} << 40});
  CHECK(read_array(file, "steps").shape.empty());
  CHECK(std::get<std::vector<float>>(read_array(file, "nothing").values).empty());
}

TEST_CASE("[result_file] an array larger than a chunk, and the same bytes every time") {
  const TemporaryFolder folder;
  std::vector<float> values(3 << 20);
  std::iota(values.begin(), values.end(), 0.0F);
  for (const char* name : {"a.h5", "b.h5"}) {
    ArrayFileWriter out(folder / name, "analyze");
    out.add({"map", {"row", "column"}, "", ""}, Shape{3, 1 << 20}, std::span<const float>(values));
    out.commit();
  }
  CHECK(std::get<std::vector<float>>(read_array(folder / "a.h5", "map").values) == values);
  CHECK(read_file(folder / "a.h5") == read_file(folder / "b.h5"));
}

TEST_CASE("[result_file] arrays that contradict themselves are refused; without commit there is no file") {
  const TemporaryFolder folder;
  const fs::path file = folder / "x.h5";
  const std::vector<float> two = {1, 2};
  const auto refusal = [&](const ArrayMeta& meta, const Shape& shape) {
    return message_of<DataError>([&] {
      ArrayFileWriter out(file, "analyze");
      out.add({"taken", {"x"}, "", ""}, Shape{2}, std::span(two));
      out.add(meta, shape, std::span(two));
    });
  };
  CHECK(holds(refusal({"taken", {"x"}, "", ""}, {2}), "two arrays are named taken"));
  CHECK(holds(refusal({"a", {"x"}, "", ""}, {3}), "the shape has 3 elements but 2 values"));
  CHECK(holds(refusal({"a", {"x"}, "", ""}, {1, 2}), "got 2 dimensions and 1 axis names"));
  CHECK(holds(refusal({"", {"x"}, "", ""}, {2}), "array name"));
  CHECK(holds(refusal({"/a", {"x"}, "", ""}, {2}), "array name"));
  CHECK_FALSE(fs::exists(file));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("[result_file] reading names what is missing or is another kind of file") {
  const TemporaryFolder folder;
  const fs::path file = folder / "analyze.h5";
  write_example(file);
  const auto refusal = [](auto work) { return message_of<DataError>(work); };
  CHECK(holds(refusal([&] { read_array(file, "rsm"); }),
              "it has attention/counts, attention/mass, nothing, rms"));
  CHECK(holds(refusal([&] { read_array(file, "attention"); }), "no array is named"));
  Hdf5File::create(folder / "other.h5").close();
  CHECK(holds(refusal([&] { list_arrays(folder / "other.h5"); }), "kvviz_array_schema is missing"));
  CHECK(holds(refusal([&] { list_arrays(folder / "none.h5"); }), "no such file"));
}

}  // namespace
}  // namespace kvviz::io
