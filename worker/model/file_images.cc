#include "worker/model/file_images.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kHeaderBytes = 4096;
constexpr const char* kSuffix = ".image";
constexpr const char* kTemporary = ".packing-";  // and six characters
constexpr int kTries = 100;                      // of making one
constexpr auto kUnusedFor = std::chrono::hours(24 * 30);

absl::Status SystemError(const fs::path& path, const char* call) {
  const int error = errno;
  const std::string what = absl::StrCat("worker: the weights' image ", path.string(), ": ", call);
  if (error == ENOSPC || error == EDQUOT) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": no room on the file system"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(what, ": ", std::error_code(error, std::generic_category()).message()));
}

std::string Header(const ImageKey& key) {
  std::string header = absl::StrCat("tessera image file\n", key.bytes, "\n", key.id);
  header.resize(kHeaderBytes);
  return header;
}

// FNV-1a, 64 bits: names of files, whose headers say the rest.
uint64_t HashOf(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

// A descriptor of a regular file of ours; -1 where there is none.
int OpenOwn(const fs::path& path, struct stat* info) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return -1;
  const bool own = fstat(fd, info) == 0 && S_ISREG(info->st_mode) && info->st_uid == geteuid() &&
                   (info->st_mode & (S_IWGRP | S_IWOTH)) == 0;
  if (own) return fd;
  close(fd);
  return -1;
}

}  // namespace

FileImages::~FileImages() { Discard(); }

fs::path FileImages::PathOf(const ImageKey& key) const {
  return folder_ / absl::StrFormat("%016x%s", HashOf(Header(key)), kSuffix);
}

absl::StatusOr<Buffer> FileImages::Find(const ImageKey& key) {
  struct stat info {};
  const fs::path path = PathOf(key);
  const int fd = OpenOwn(path, &info);
  if (fd < 0) return Buffer();
  std::string header(kHeaderBytes, '\0');
  absl::StatusOr<Buffer> image = Buffer();
  if (info.st_size == kHeaderBytes + key.bytes &&
      pread(fd, header.data(), header.size(), 0) == kHeaderBytes && header == Header(key)) {
    image = Buffer::Map({.fd = fd, .offset = kHeaderBytes, .bytes = key.bytes, .writable = false},
                        "the weights");
    futimens(fd, nullptr);  // it was used: see RemoveOld
  }
  close(fd);
  return image;
}

// Images that nobody used for long, and what processes that ended left unfinished: those hold no
// lock any more.
void FileImages::RemoveOld() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    struct stat info {};
    if (name.ends_with(kSuffix)) {
      const auto written = entry.last_write_time(error);
      if (!error && fs::file_time_type::clock::now() - written > kUnusedFor) {
        fs::remove(entry.path(), error);
      }
    } else if (name.starts_with(kTemporary)) {
      const int fd = OpenOwn(entry.path(), &info);
      if (fd < 0) continue;
      if (flock(fd, LOCK_EX | LOCK_NB) == 0) fs::remove(entry.path(), error);
      close(fd);
    }
  }
}

void FileImages::Discard() {
  if (fd_ < 0) return;
  std::error_code error;
  fs::remove(temporary_, error);
  close(fd_);
  fd_ = -1;
}

// Locked before it has any bytes. Who cleans up at that moment takes it for an abandoned one, and
// holds its lock or has removed it: then there is a next one.
absl::Status FileImages::CreateTemporary() {
  for (int tries = 0; tries < kTries; ++tries) {
    std::string pattern = (folder_ / absl::StrCat(kTemporary, "XXXXXX")).string();
    fd_ = mkostemp(pattern.data(), O_CLOEXEC);
    if (fd_ < 0) return SystemError(folder_, "mkostemp");
    temporary_ = pattern;
    struct stat info {};
    const bool locked = flock(fd_, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno != EWOULDBLOCK) return SystemError(temporary_, "flock");
    if (locked && fstat(fd_, &info) == 0 && info.st_nlink == 1) return absl::OkStatus();
    Discard();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("worker: other processes lock every new file in ", folder_.string()));
}

absl::StatusOr<Buffer> FileImages::Make(const ImageKey& key) {
  Discard();
  std::error_code error;
  fs::create_directories(folder_.parent_path(), error);
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) return SystemError(folder_, "mkdir");
  RemoveOld();
  struct statvfs room {};
  if (statvfs(folder_.c_str(), &room) != 0) return SystemError(folder_, "statvfs");
  const uint64_t wanted = static_cast<uint64_t>(kHeaderBytes + key.bytes);
  const uint64_t left = room.f_bavail * room.f_frsize;
  const uint64_t kept = room.f_blocks * room.f_frsize / 20;
  if (left < wanted + kept) {
    return absl::ResourceExhaustedError(
        absl::StrCat("worker: the weights' image has ", wanted, " bytes, but ", folder_.string(),
                     " has ", left, " left, of which ", kept, " are not taken"));
  }
  RETURN_IF_ERROR(CreateTemporary());
  // All blocks now: a full disk must be an error here, not a signal at some store.
  errno = posix_fallocate(fd_, 0, static_cast<off_t>(wanted));
  if (errno != 0) {
    const absl::Status status = SystemError(temporary_, "posix_fallocate");
    Discard();
    return status;
  }
  return Buffer::Map({.fd = fd_, .offset = kHeaderBytes, .bytes = key.bytes, .writable = true},
                     "the weights");
}

absl::StatusOr<Buffer> FileImages::Keep(const ImageKey& key, Buffer image) {
  if (fd_ < 0) return absl::InternalError("worker: an image is kept that was never made");
  image = Buffer();  // no mapping that may write is left
  const std::string header = Header(key);
  if (pwrite(fd_, header.data(), header.size(), 0) != kHeaderBytes) {
    return SystemError(temporary_, "pwrite");
  }
  if (fsync(fd_) != 0) return SystemError(temporary_, "fsync");
  const fs::path path = PathOf(key);
  if (rename(temporary_.c_str(), path.c_str()) != 0) return SystemError(path, "rename");
  const int folder = open(folder_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (folder >= 0) {
    fsync(folder);  // the name; without it the next start packs again
    close(folder);
  }
  absl::StatusOr<Buffer> kept = Buffer::Map(
      {.fd = fd_, .offset = kHeaderBytes, .bytes = key.bytes, .writable = false}, "the weights");
  close(fd_);
  fd_ = -1;
  return kept;
}

}  // namespace tessera::worker
