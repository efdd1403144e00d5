#include "worker/model/memfd_images.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

constexpr int64_t kHeaderBytes = 4096;
// Where the image begins: at a huge page. What lies between takes no memory.
constexpr int64_t kImageOffset = 2 << 20;

absl::Status SystemError(const char* call) {
  return absl::ErrnoToStatus(errno, absl::StrCat("worker: the memory of the weights: ", call));
}

std::string Header(const ImageKey& key) {
  std::string header = absl::StrCat("tessera image\n", key.bytes, "\n", key.id);
  header.resize(kHeaderBytes);
  return header;
}

}  // namespace

MemfdImages::~MemfdImages() {
  if (fd_ >= 0) close(fd_);
}

bool MemfdImages::sealed() const {
  int seals = fd_ < 0 ? -1 : fcntl(fd_, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_WRITE) != 0;
}

absl::StatusOr<Buffer> MemfdImages::MapFinished(const ImageKey& key) const {
  return Buffer::Map({.fd = fd_, .offset = kImageOffset, .bytes = key.bytes, .writable = false},
                     "the weights");
}

absl::StatusOr<Buffer> MemfdImages::Find(const ImageKey& key) {
  if (!sealed()) return Buffer();
  std::string header(kHeaderBytes, '\0');
  if (pread(fd_, header.data(), header.size(), 0) != kHeaderBytes) return SystemError("pread");
  if (header != Header(key)) return Buffer();
  return MapFinished(key);
}

absl::StatusOr<Buffer> MemfdImages::Make(const ImageKey& key) {
  if (sealed()) {
    close(fd_);
    fd_ = -1;
  }
  if (fd_ < 0) fd_ = memfd_create("tessera-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd_ < 0) return SystemError("memfd_create");
  const std::string header = Header(key);
  // Cut first: what an earlier rank has left unfinished must read as zeros.
  if (ftruncate(fd_, 0) != 0 || ftruncate(fd_, kImageOffset + key.bytes) != 0) {
    return SystemError("ftruncate");
  }
  if (pwrite(fd_, header.data(), header.size(), 0) != kHeaderBytes) return SystemError("pwrite");
  return Buffer::Map({.fd = fd_, .offset = kImageOffset, .bytes = key.bytes, .writable = true},
                     "the weights");
}

absl::StatusOr<Buffer> MemfdImages::Keep(const ImageKey& key, Buffer image) {
  image = Buffer();  // no mapping that may write is left
  if (fcntl(fd_, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
    return SystemError("F_ADD_SEALS");
  }
  return MapFinished(key);
}

}  // namespace tessera::worker
