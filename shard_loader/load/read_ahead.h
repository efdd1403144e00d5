// A thread that fetches what others are about to read, so that neither waits for the other.
#ifndef TESSERA_SHARD_LOADER_LOAD_READ_AHEAD_H_
#define TESSERA_SHARD_LOADER_LOAD_READ_AHEAD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "absl/types/span.h"
#include "shard_loader/io/direct_file.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/load/stretches.h"
#include "shard_loader/mutex.h"

namespace tessera::shard_loader {

// Bytes of a file that are in memory.
struct FetchedBytes {
  int file = 0;
  uint64_t offset = 0;
  absl::Span<const std::byte> bytes;
};

// Goes through stretches in their order, kAhead of them at a time. A whole one that the page cache
// does not have is read past it, into memory; of all others the kernel is told, and they are read
// from the page cache when their turn comes. Fails never: what could not be fetched is read again
// by those who need it, and they say why. Thread-safe.
class ReadAhead {
 public:
  static constexpr int kAhead = 3;
  static constexpr uint64_t kMostBytes = 8 << 20;    // of a stretch in memory
  static constexpr uint64_t kLeastBytes = 64 << 10;  // likewise

  // Borrows the checkpoint. `cancelled` is asked before every read, by the thread of this object.
  ReadAhead(const Checkpoint& checkpoint, std::vector<Stretch> stretches,
            std::function<bool()> cancelled);
  // Waits for a read that is under way.
  ~ReadAhead();

  // Waits until the stretch has had its turn. What is in memory of it, perhaps nothing, stays there
  // until each of its parts was given back. Whoever takes parts takes them in their order.
  FetchedBytes Take(size_t stretch);
  void GiveBack(size_t stretch);

  // No stretch is waited for any more.
  void Stop();

 private:
  struct Turn {
    bool had = false;
    size_t buffer = 0;
    int parts_left = 0;
    FetchedBytes fetched;
  };

  void Run();
  bool WaitForBuffer(size_t* buffer);
  FetchedBytes Fetch(const Stretch& stretch, DirectBuffer& buffer);
  const DirectFile* Open(int file);

  const Checkpoint& checkpoint_;
  const std::vector<Stretch> stretches_;
  const std::function<bool()> cancelled_;
  std::map<int, std::optional<DirectFile>> files_;  // the thread's
  std::array<DirectBuffer, kAhead> buffers_;        // each whoever's turn it is
  Mutex mutex_;
  CondVar changed_;
  std::vector<Turn> turns_ ABSL_GUARDED_BY(mutex_);
  std::vector<size_t> free_ ABSL_GUARDED_BY(mutex_);  // buffers
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_READ_AHEAD_H_
