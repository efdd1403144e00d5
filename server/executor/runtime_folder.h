// The private folder that holds the sockets of one epoch until the ranks are connected.
#ifndef TESSERA_SERVER_EXECUTOR_RUNTIME_FOLDER_H_
#define TESSERA_SERVER_EXECUTOR_RUNTIME_FOLDER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::server {

// Removed with what is in it in the destructor. Thread-compatible.
class RuntimeFolder {
 public:
  // Makes a folder that only this user may enter, inside `parent`, and removes those there whose
  // server is gone. FAILED_PRECONDITION where the sockets' paths would be longer than the system
  // takes.
  static absl::StatusOr<std::unique_ptr<RuntimeFolder>> Create(const std::string& parent);
  ~RuntimeFolder();
  RuntimeFolder(const RuntimeFolder&) = delete;
  RuntimeFolder& operator=(const RuntimeFolder&) = delete;

  const std::string& path() const { return path_; }
  // Of one rank; "%r" stays for a rank that the worker fills in.
  std::string SocketPath(const std::string& rank) const { return path_ + "/" + rank + ".sock"; }
  // A file that only this user may read.
  absl::Status Write(const std::string& name, const std::string& content) const;
  // A symbolic link to `target`.
  absl::Status Link(const std::string& name, const std::string& target) const;

 private:
  explicit RuntimeFolder(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_RUNTIME_FOLDER_H_
