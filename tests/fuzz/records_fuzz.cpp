// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "fuzz_target.hpp"
#include "kvviz/batch/record_file.hpp"
#include "kvviz/core/sha256.hpp"

namespace {

using namespace kvviz;
using batch::RecordFile;

constexpr size_t magic = 16, header = 48, checked = 32;

// With the checksum that each block would have, so that what stands in a record is reached.
std::string sealed(std::string bytes) {
  for (size_t at = magic; at + header <= bytes.size();) {
    uint64_t size = 0;
    std::memcpy(&size, bytes.data() + at, sizeof size);
    if (size > bytes.size() - at - header) break;
    const std::string check = sha256(bytes.substr(at, checked) + bytes.substr(at + header, size));
    bytes.replace(at + checked, header - checked, check, 0, header - checked);
    at += header + size;
  }
  return bytes;
}

int read(std::string_view bytes) {
  const test::TemporaryFolder folder;
  const std::filesystem::path file = test::as_file(folder, bytes, "sinks.records");
  return test::survives([&] {
    const RecordFile records = RecordFile::read(file);
    for (int64_t text = -1; text < records.texts(); ++text) records.find({text, "scores"});
    records.finished();
  });
}

// A run that goes on with the file leaves one that can be read.
void resume(std::string_view bytes) {
  const test::TemporaryFolder folder;
  const std::filesystem::path file = test::as_file(folder, bytes, "sinks.records");
  bool resumed = false;
  test::survives([&] {
    const batch::Plan plan = batch::read_plan(file).plan;
    // A plan whose hash is not that of its texts, as a shard's own never is, is of another run than itself.
    test::survives<UsageError>([&] {
      RecordFile records = RecordFile::resume(file, plan);
      records.add({.text = 5, .stage = "scores"}, {{"score", 0.5}});
      resumed = true;
    });
  });
  if (resumed) test::expect(RecordFile::read(file).find({5, "scores"}).has_value(), "a record was lost");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t largest = 4096;  // sealed, longer ones could nest deeper than any file that is damaged
  const std::string bytes(test::as_text(data, size));
  if (size <= largest) read(sealed(bytes));
  resume(bytes);
  return read(bytes);
}
