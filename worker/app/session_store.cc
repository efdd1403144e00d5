#include "worker/app/session_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

constexpr size_t kMaxEntries = 65536;
constexpr size_t kMaxValueBytes = 65536;

}  // namespace

absl::Status SessionStore::Set(const std::string& key, const std::string& value) {
  RETURN_IF_ERROR(Put(key, value));
  // Sent without the lock: a session that does not take more would hold up Put and Close.
  if (send_(key, value)) return absl::OkStatus();
  return absl::UnavailableError("store: the session with the server is gone");
}

absl::StatusOr<std::string> SessionStore::Get(const std::string& key, absl::Duration timeout) {
  auto deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  MutexLock lock(mutex_);
  while (true) {
    if (auto found = entries_.find(key); found != entries_.end()) return found->second;
    if (!closed_.ok()) return closed_;
    if (std::chrono::steady_clock::now() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat("store: no rank has set '", key, "' within ",
                                                      absl::FormatDuration(timeout)));
    }
    changed_.WaitUntil(mutex_, deadline);
  }
}

absl::Status SessionStore::Put(std::string key, std::string value) {
  MutexLock lock(mutex_);
  if (entries_.size() >= kMaxEntries || value.size() > kMaxValueBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("store: entry '", key, "' of ", value.size(), " bytes is one too many"));
  }
  entries_.insert_or_assign(std::move(key), std::move(value));
  changed_.NotifyAll();
  return absl::OkStatus();
}

void SessionStore::Close(absl::Status why) {
  MutexLock lock(mutex_);
  if (closed_.ok()) closed_ = std::move(why);
  changed_.NotifyAll();
}

}  // namespace tessera::worker
