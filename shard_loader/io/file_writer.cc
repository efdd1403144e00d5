#include "shard_loader/io/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera::shard_loader {

absl::StatusOr<FileWriter> FileWriter::Create(const std::filesystem::path& path) {
  std::filesystem::path temporary = path;
  temporary += ".part";
  const int descriptor = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  FileWriter writer(descriptor, path, std::move(temporary));
  if (descriptor < 0) return writer.Error("open");
  return writer;
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)) {}

FileWriter::~FileWriter() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

absl::Status FileWriter::Error(const char* call) const {
  const int error = errno;
  const std::string message = absl::StrCat("shard_loader: cannot write ", path_.string(), ": ",
                                           call, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  return absl::FailedPreconditionError(message);
}

absl::Status FileWriter::Write(absl::Span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Error("write");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status FileWriter::Write(std::string_view text) {
  return Write({reinterpret_cast<const std::byte*>(text.data()), text.size()});
}

absl::Status FileWriter::Finish() {
  if (fsync(descriptor_) != 0) return Error("fsync");
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return Error("rename");
  close(std::exchange(descriptor_, -1));
  return absl::OkStatus();
}

}  // namespace tessera::shard_loader
