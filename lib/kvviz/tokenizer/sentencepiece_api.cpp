// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/sentencepiece_api.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;

constexpr const char* library_name = "libkvviz_sentencepiece.so";

#if defined(__SANITIZE_ADDRESS__)
constexpr bool address_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool address_sanitizer = true;
#else
constexpr bool address_sanitizer = false;
#endif
#else
constexpr bool address_sanitizer = false;
#endif

fs::path containing_binary() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&sentencepiece_api), &info) == 0 || info.dli_fname == nullptr)
    return {};
  return info.dli_fname;
}

std::vector<fs::path> candidates() {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const fs::path& binary : {containing_binary(), fs::path("/proc/self/exe")}) {
    const fs::path folder = fs::canonical(binary, ignored).parent_path();
    if (folder.empty()) continue;
    found.push_back(folder / library_name);
    found.push_back(folder.parent_path() / "lib" / "kvviz" / library_name);
  }
#ifdef KVVIZ_BUILD_BIN
  found.push_back(fs::path(KVVIZ_BUILD_BIN) / library_name);
#endif
  return found;
}

fs::path locate() {
  std::string places;
  for (const fs::path& file : candidates()) {
    std::error_code ignored;
    if (fs::exists(file, ignored)) return file;
    places += cat(places.empty() ? "" : ", ", file.string());
  }
  throw DataError(cat("[tokenizer] ", library_name,
                      ", which reads SentencePiece models, is missing; looked for ", places,
                      "; install it beside the program"));
}

// libsentencepiece has its own protobuf-lite. Where the program itself links another protobuf (through
// libtorch), that one would be bound to it and crash.
bool program_has_protobuf() {
  void* program = dlopen(nullptr, RTLD_LAZY);
  const bool found =
      dlsym(program, "_ZNK6google8protobuf11MessageLite17SerializeAsStringB5cxx11Ev") != nullptr ||
      dlsym(program, "_ZNK6google8protobuf11MessageLite17SerializeAsStringEv") != nullptr;
  dlclose(program);
  return found;
}

const KvvizSpApi& open_library() {
  const fs::path file = locate();
  const bool isolate = program_has_protobuf();
  require(!isolate || !address_sanitizer,
          "[tokenizer] SentencePiece models cannot be read by a program that links libtorch directly and is "
          "built "
          "with AddressSanitizer");
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | (isolate ? RTLD_DEEPBIND : 0));
  require(library != nullptr, "[tokenizer] cannot open ", file.string(), ": ", library ? "" : dlerror());
  void* entry = dlsym(library, "kvviz_sentencepiece_api");
  require(entry != nullptr, "[tokenizer] ", file.string(), " is not kvviz's: ", entry ? "" : dlerror());
  const KvvizSpApi* api = reinterpret_cast<decltype(&kvviz_sentencepiece_api)>(entry)();
  require(api->abi == KVVIZ_SENTENCEPIECE_ABI, "[tokenizer] ", file.string(), " has interface ", api->abi,
          ", expected ", int{KVVIZ_SENTENCEPIECE_ABI}, "; reinstall it with the program");
  return *api;
}

}  // namespace

const KvvizSpApi& sentencepiece_api() {
  static const KvvizSpApi& api = open_library();
  return api;
}

}  // namespace kvviz
