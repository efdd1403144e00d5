#include "shard_loader/io/unnamed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera::shard_loader {
namespace {

int Open(const std::string& folder) {
  const int descriptor = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return descriptor;
  // A file system that has none: one that loses its name at once.
  std::string name = absl::StrCat(folder, "/tessera-XXXXXX");
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) unlink(name.c_str());
  return named;
}

}  // namespace

absl::StatusOr<UnnamedFile> UnnamedFile::Create(const std::string& folder) {
  UnnamedFile file(Open(folder), folder);
  if (file.descriptor_ < 0) return file.Error(errno, "cannot be made");
  return file;
}

UnnamedFile::UnnamedFile(UnnamedFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), folder_(std::move(other.folder_)) {}

UnnamedFile& UnnamedFile::operator=(UnnamedFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(folder_, other.folder_);
  return *this;
}

UnnamedFile::~UnnamedFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status UnnamedFile::Error(int error, const std::string& what) const {
  const std::string message =
      absl::StrCat("a file in the folder ", folder_, " ", what, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError(message);
  }
  return absl::FailedPreconditionError(message);
}

absl::Status UnnamedFile::Reserve(int64_t bytes) {
  const int error = posix_fallocate(descriptor_, 0, static_cast<off_t>(bytes));
  if (error == 0) return absl::OkStatus();
  return Error(error, absl::StrCat("cannot take ", bytes, " bytes"));
}

absl::Status UnnamedFile::Write(absl::Span<const std::byte> bytes, int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t count =
        pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return Error(count < 0 ? errno : EIO, "cannot be written");
    bytes.remove_prefix(static_cast<size_t>(count));
    offset += count;
  }
  return absl::OkStatus();
}

absl::Status UnnamedFile::Read(int64_t offset, absl::Span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count =
        pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error(errno, "cannot be read");
    if (count == 0) {
      return absl::DataLossError(
          absl::StrCat("a file in the folder ", folder_, " ends at byte ", offset));
    }
    bytes.remove_prefix(static_cast<size_t>(count));
    offset += count;
  }
  return absl::OkStatus();
}

}  // namespace tessera::shard_loader
