#include "worker/comm/shm_region.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/comm/ring_links.h"
#include "worker/comm/shm_communicator.h"

namespace tessera::worker {
namespace {

absl::Status SystemError(const char* call) {
  return absl::FailedPreconditionError(
      absl::StrCat("comm: shared memory: ", call, ": ", strerror(errno)));
}

}  // namespace

absl::StatusOr<int> CreateShmRegion() {
  const int fd = memfd_create("tessera-comm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return SystemError("memfd_create");
  return fd;
}

size_t ShmRegionBytes(int ranks) { return ranks * sizeof(ShmRankSlot) + RingMemoryBytes(ranks); }

absl::StatusOr<ShmRegion> ShmRegion::Map(int fd, int ranks) {
  const size_t bytes = ShmRegionBytes(ranks);
  struct stat file;
  if (fstat(fd, &file) != 0) return SystemError("fstat of the inherited region");
  // Every rank may be the first: giving the same size twice changes nothing.
  if (file.st_size == 0 && ftruncate(fd, bytes) != 0) return SystemError("ftruncate");
  // A file that could shrink would end its readers with SIGBUS. Files made without
  // MFD_ALLOW_SEALING cannot be sealed: then the size is only looked at.
  fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
  if (fstat(fd, &file) != 0) return SystemError("fstat of the inherited region");
  if (static_cast<size_t>(file.st_size) != bytes) {
    return absl::FailedPreconditionError(absl::StrCat(
        "comm: shared memory: the region has ", file.st_size, " bytes, a group of ", ranks,
        " ranks needs ", bytes, ": it was made for another group or by another version"));
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return SystemError("mmap");
  return ShmRegion(static_cast<std::byte*>(memory), ranks);
}

ShmRegion::~ShmRegion() {
  if (memory_ != nullptr) munmap(memory_, ShmRegionBytes(ranks_));
}

ShmRegion::ShmRegion(ShmRegion&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)), ranks_(other.ranks_) {}

}  // namespace tessera::worker
