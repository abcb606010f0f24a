// SPDX-License-Identifier: MIT
// Runs a fuzz target over the files of the folders that are named, and over so many seeded changes of each:
// what any compiler can do in a test. `x_fuzz CHANGES FOLDER ...`. A crash, a sanitizer's report or an
// exception that the target does not declare ends the program.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fuzz_target.hpp"
#include "kvviz/core/atomic_file.hpp"

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(int count, char** folders) {
  std::vector<fs::path> files;
  for (int i = 2; i < count; ++i)
    for (const auto& entry : fs::directory_iterator(folders[i]))
      if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// One to four of: another byte, a flipped bit, a number that is large, a cut, a part that is doubled.
std::string changed(std::string bytes, std::mt19937& random) {
  const auto below = [&](size_t end) { return end == 0 ? 0 : random() % end; };
  for (auto left = 1 + random() % 4; left > 0 && !bytes.empty(); --left) {
    const size_t at = below(bytes.size());
    switch (random() % 6) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
        break;
      case 2:
        bytes[at] = static_cast<char>(bytes[at] + (random() % 2 == 0 ? 1 : -1));
        break;
      case 3:
        for (size_t i = at; i < std::min(bytes.size(), at + (size_t{1} << random() % 4)); ++i)
          bytes[i] = random() % 2 == 0 ? '\xff' : '\x7f';
        break;
      case 4:
        bytes.resize(at);
        break;
      default:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(64)));
    }
  }
  return bytes;
}

// In memory of exactly its size, so that a sanitizer sees a read past its end.
void run(const std::string& bytes) {
  const auto exact = std::make_unique<uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), exact.get());
  LLVMFuzzerTestOneInput(exact.get(), bytes.size());
}

}  // namespace

int main(int count, char** arguments) {
  const int changes_of_each = count > 1 ? std::atoi(arguments[1]) : 0;
  const std::vector<fs::path> files = files_of(count, arguments);
  std::mt19937 random(20240607);
  for (const fs::path& file : files) {
    const std::string bytes = kvviz::read_file(file);
    run(bytes);
    for (int i = 0; i < changes_of_each; ++i) run(changed(bytes, random));
  }
  std::printf("%zu files and %d changes of each\n", files.size(), changes_of_each);
  return files.empty() ? 1 : 0;
}
