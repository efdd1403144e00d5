#include "shard_loader/io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

absl::Status OpenError(const std::filesystem::path& path, int error) {
  const std::string message =
      absl::StrCat("shard_loader: cannot open ", path.string(), ": ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  return absl::FailedPreconditionError(message);
}

}  // namespace

absl::StatusOr<File> File::Open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a named pipe must not wait for its writer.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return OpenError(path, errno);
  File file(descriptor, 0, path.filename().string());
  struct stat info {};
  if (fstat(descriptor, &info) != 0) return OpenError(path, errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard_loader: ", path.string(), " is no regular file"));
  }
  file.size_ = static_cast<uint64_t>(info.st_size);
  return file;
}

File::File(File&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      name_(std::move(other.name_)),
      bytes_read_(other.bytes_read_) {}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  std::swap(name_, other.name_);
  std::swap(bytes_read_, other.bytes_read_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status File::ReadAt(uint64_t offset, absl::Span<std::byte> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = pread(descriptor_, bytes.data() + done, bytes.size() - done,
                              static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::DataLossError(absl::StrCat("shard_loader: ", name_, ": reading at byte ",
                                              offset + done, ": ", std::strerror(errno)));
    }
    if (got == 0) {
      return absl::DataLossError(absl::StrCat("shard_loader: ", name_, ": ends at byte ",
                                              offset + done, ", expected bytes up to ",
                                              offset + bytes.size(), "; download it again"));
    }
    done += static_cast<size_t>(got);
    bytes_read_ += static_cast<uint64_t>(got);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadSmallFile(const std::filesystem::path& path, uint64_t most) {
  ASSIGN_OR_RETURN(File file, File::Open(path));
  if (file.size() > most) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file.name(), ": ", file.size(),
                                            " bytes, more than the ", most,
                                            " that such a file may have"));
  }
  std::string bytes(file.size(), '\0');
  RETURN_IF_ERROR(
      file.ReadAt(0, absl::MakeSpan(reinterpret_cast<std::byte*>(bytes.data()), bytes.size())));
  return bytes;
}

}  // namespace tessera::shard_loader
