#include "worker/tensor/memory.h"

#include <cstring>

namespace tessera::worker {
namespace {

class HostPages final : public Memory {
 public:
  bool on_host() const override { return true; }
  absl::StatusOr<Buffer> Allocate(int64_t bytes, absl::string_view what) override {
    return Buffer::Allocate(bytes, what);
  }
  void CopyIn(const void* from, int64_t bytes, void* to) override {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  void CopyOut(const void* from, int64_t bytes, void* to) override { CopyIn(from, bytes, to); }
  void Copy(const void* from, int64_t bytes, void* to) override { CopyIn(from, bytes, to); }
  void Zero(void* to, int64_t bytes) override {
    if (bytes > 0) std::memset(to, 0, static_cast<size_t>(bytes));
  }
  void* stream() override { return nullptr; }
  absl::Status Finish() override { return absl::OkStatus(); }
};

}  // namespace

Memory& HostMemory() {
  static HostPages memory;
  return memory;
}

}  // namespace tessera::worker
