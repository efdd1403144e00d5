#include "server/executor/runtime_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <string_view>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/executor/unique_fd.h"

namespace tessera::server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "tessera-";
constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr size_t kSocketNameRoom = sizeof("/9999.sock") - 1;

// "tessera-PID-XXXXXX" of a process that is gone, and this user's.
bool IsStale(const fs::path& path) {
  std::string name = path.filename().string();
  std::vector<std::string> parts = absl::StrSplit(name, '-');
  int pid = 0;
  if (parts.size() != 3 || parts[0] + "-" != kPrefix || !absl::SimpleAtoi(parts[1], &pid))
    return false;
  struct stat info;
  if (lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid()) {
    return false;
  }
  return pid > 0 && kill(pid, 0) != 0 && errno == ESRCH;
}

void RemoveStale(const std::string& parent) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(parent, error)) {
    std::error_code ignored;
    if (IsStale(entry.path())) fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<RuntimeFolder>> RuntimeFolder::Create(const std::string& parent) {
  RemoveStale(parent);
  std::string path = absl::StrCat(parent, "/", std::string(kPrefix), getpid(), "-XXXXXX");
  if (path.size() + kSocketNameRoom > kMaxSocketPath) {
    return absl::FailedPreconditionError(absl::StrCat(
        "runtime folder ", parent, " is too long a path for sockets: the system takes ",
        kMaxSocketPath, " bytes; set TMPDIR to a shorter one"));
  }
  if (mkdtemp(path.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make a folder in ", parent));
  }
  return std::unique_ptr<RuntimeFolder>(new RuntimeFolder(std::move(path)));
}

RuntimeFolder::~RuntimeFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

absl::Status RuntimeFolder::Write(const std::string& name, const std::string& content) const {
  std::string path = absl::StrCat(path_, "/", name);
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid() ||
      write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  }
  return absl::OkStatus();
}

absl::Status RuntimeFolder::Link(const std::string& name, const std::string& target) const {
  std::string path = absl::StrCat(path_, "/", name);
  if (symlink(target.c_str(), path.c_str()) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot make the link ", path));
}

}  // namespace tessera::server
