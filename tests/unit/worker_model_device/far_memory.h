// Memory that the host reaches only by copies: what is copied out is there after Finish, and no
// sooner.
#ifndef TESSERA_TESTS_UNIT_WORKER_MODEL_DEVICE_FAR_MEMORY_H_
#define TESSERA_TESTS_UNIT_WORKER_MODEL_DEVICE_FAR_MEMORY_H_

#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "worker/tensor/memory.h"

namespace tessera::tests {

class FarMemory final : public worker::Memory {
 public:
  bool on_host() const override { return false; }
  absl::StatusOr<worker::Buffer> Allocate(int64_t bytes, absl::string_view what) override {
    return worker::Buffer::Allocate(bytes, what);
  }
  void CopyIn(const void* from, int64_t bytes, void* to) override {
    const std::byte* first = static_cast<const std::byte*>(from);
    queue_.push_back([copy = std::vector<std::byte>(first, first + bytes), to] {
      std::memcpy(to, copy.data(), copy.size());
    });
  }
  void CopyOut(const void* from, int64_t bytes, void* to) override { Copy(from, bytes, to); }
  void Copy(const void* from, int64_t bytes, void* to) override {
    queue_.push_back([=] { std::memcpy(to, from, static_cast<size_t>(bytes)); });
  }
  void Zero(void* to, int64_t bytes) override {
    queue_.push_back([=] { std::memset(to, 0, static_cast<size_t>(bytes)); });
  }
  void* stream() override { return nullptr; }
  absl::Status Finish() override {
    for (const auto& each : std::exchange(queue_, {})) each();
    return absl::OkStatus();
  }

  std::byte* Room(int64_t bytes) {
    buffers_.push_back(*Allocate(bytes, "a test"));
    return buffers_.back().data();
  }
  std::byte* Place(const void* data, int64_t bytes) {
    std::byte* room = Room(bytes);
    CopyIn(data, bytes, room);
    return room;
  }
  std::vector<int> Read(const std::byte* data, int count) {
    std::vector<int> values(count);
    CopyOut(data, count * 4, values.data());
    Finish().IgnoreError();
    return values;
  }

 private:
  std::vector<worker::Buffer> buffers_;
  std::vector<std::function<void()>> queue_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_UNIT_WORKER_MODEL_DEVICE_FAR_MEMORY_H_
