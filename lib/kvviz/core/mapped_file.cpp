// SPDX-License-Identifier: MIT
#include "kvviz/core/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "kvviz/core/error.hpp"
#include "kvviz/core/file_identity.hpp"

namespace kvviz {

MappedFile::MappedFile(const std::filesystem::path& file) {
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  require(descriptor >= 0, "cannot read ", file.string(), ": ", errno_text);
  struct stat status {};
  const bool regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = regular ? static_cast<size_t>(status.st_size) : 0;
  void* start = size > 0 ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0) : nullptr;
  const int error = errno;
  close(descriptor);
  require(regular, file.string(), " is not a regular file");
  require(start != MAP_FAILED, "cannot map ", file.string(), ": ", std::strerror(error));
  bytes_ = {static_cast<const std::byte*>(start), size};
  watched_.emplace(bytes_, cat(file.string(),
                               " changed while it was read: it became shorter, or its disk fails; no result "
                               "was written. Run again when nothing writes to it any more"));
  remember_input(file, identity_in(status));
}

MappedFile::~MappedFile() {
  watched_.reset();
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::release(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(part.data()) + part.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace kvviz
