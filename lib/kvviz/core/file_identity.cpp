// SPDX-License-Identifier: MIT
#include "kvviz/core/file_identity.hpp"

#include <sys/stat.h>

#include <map>
#include <mutex>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz {
namespace fs = std::filesystem;
namespace {

struct Inputs {
  std::mutex mutex;
  struct Input {
    FileIdentity identity;
    std::string name;  // as the user gave it
  };
  std::map<fs::path, Input> known;
};

Inputs& inputs() {
  static auto* const all = new Inputs;
  return *all;
}

// Empty: as it was.
std::string change_of(const fs::path& file, const Inputs::Input& input) {
  const FileIdentity& before = input.identity;
  const auto now = identity_of(file);
  if (now == before) return {};
  const std::string what = !now ? cat("it had ", before.size, " bytes and is gone")
                           : now->size != before.size
                               ? cat("it had ", before.size, " bytes and has ", now->size)
                               : cat("it was written to, and still has ", now->size, " bytes");
  return cat(input.name, " changed while it was read: ", what,
             "; no result was written. Run again when nothing writes to it any more");
}

}  // namespace

FileIdentity identity_in(const struct stat& status) {
  constexpr int64_t second = 1'000'000'000;
  return {.size = status.st_size, .modified = status.st_mtim.tv_sec * second + status.st_mtim.tv_nsec};
}

std::optional<FileIdentity> identity_of(const fs::path& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return identity_in(status);
}

void remember_input(const fs::path& file, const FileIdentity& identity) {
  const std::lock_guard lock(inputs().mutex);
  inputs().known.emplace(fs::absolute(file), Inputs::Input{identity, file.string()});
}

void remember_input(const fs::path& file) {
  if (const auto identity = identity_of(file)) remember_input(file, *identity);
}

std::string read_input(const fs::path& file) {
  const auto before = identity_of(file);
  if (before) remember_input(file, *before);
  std::string bytes = read_file(file);
  if (before) {
    const std::string change = change_of(file, {*before, file.string()});
    require(change.empty(), change);
  }
  return bytes;
}

std::string changed_input() {
  const std::lock_guard lock(inputs().mutex);
  for (const auto& [file, before] : inputs().known)
    if (std::string change = change_of(file, before); !change.empty()) return change;
  return {};
}

void forget_inputs() {
  const std::lock_guard lock(inputs().mutex);
  inputs().known.clear();
}

void require_unchanged_inputs() {
  const std::string change = changed_input();
  require(change.empty(), change);
}

}  // namespace kvviz
