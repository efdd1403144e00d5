// Memory that a worker computes in.
#ifndef TESSERA_WORKER_TENSOR_BUFFER_H_
#define TESSERA_WORKER_TENSOR_BUFFER_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tessera::worker {

// A part of a file to map. Borrowed, and only until it is mapped.
struct FileMapping {
  int fd = -1;
  int64_t offset = 0;  // a multiple of 4096; of 2 MiB, so that there can be huge pages
  int64_t bytes = 0;
  bool writable = false;  // shared with whoever else maps the file
};

// Pages of its own, or of a file, aligned to 4096 bytes, given back in the destructor. Movable.
class Buffer {
 public:
  // Zeroed. RESOURCE_EXHAUSTED naming `what` where the system has not as much.
  static absl::StatusOr<Buffer> Allocate(int64_t bytes, absl::string_view what);
  // Shared memory, or a file. What is not `writable` ends the process that writes it. Likewise.
  static absl::StatusOr<Buffer> Map(const FileMapping& file, absl::string_view what);

  using Release = void (*)(void* data);
  // Takes over memory of another kind, that `release` gives back.
  static Buffer Adopt(std::byte* data, int64_t size, Release release);

  Buffer() = default;
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  int64_t size() const { return size_; }

  // The floats at byte `offset`.
  float* floats(int64_t offset) { return reinterpret_cast<float*>(data_ + offset); }

 private:
  Buffer(std::byte* data, int64_t size) : data_(data), size_(size) {}

  std::byte* data_ = nullptr;
  int64_t size_ = 0;
  Release release_ = nullptr;  // null: pages
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_TENSOR_BUFFER_H_
