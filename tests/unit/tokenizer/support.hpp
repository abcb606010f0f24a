// SPDX-License-Identifier: MIT
#pragma once
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kvviz::test {

/// A folder of its own that is gone at the end of the test.
class TempFolder {
 public:
  TempFolder() {
    static std::atomic<int> made{0};
    path_ = std::filesystem::temp_directory_path() /
            ("kvviz-tokenizer-" + std::to_string(::getpid()) + "-" + std::to_string(made++));
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  void write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path_ / name, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  void write_json(const std::string& name, const nlohmann::json& value) const { write(name, value.dump()); }
  void link(const std::string& name, const std::filesystem::path& target) const {
    std::filesystem::create_symlink(std::filesystem::canonical(target), path_ / name);
  }
  /// Every file of another folder, under its own name.
  void link_all(const std::filesystem::path& folder) const {
    for (const auto& file : std::filesystem::directory_iterator(folder)) {
      link(file.path().filename().string(), file.path());
    }
  }
  void remove(const std::string& name) const { std::filesystem::remove(path_ / name); }

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path fixtures() {
  return std::filesystem::path(KVVIZ_FIXTURES) / "tokenizers";
}
inline std::filesystem::path refdata() {
  return KVVIZ_REFDATA;
}

inline nlohmann::json load_json(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot read " + file.string());
  return nlohmann::json::parse(in);
}

/// The message of the error that `work` throws; "" when it throws none of type E.
template <class E, class Work>
std::string error_of(const Work& work) {
  try {
    work();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace kvviz::test
