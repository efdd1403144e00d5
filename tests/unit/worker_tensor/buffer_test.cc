#include "worker/tensor/buffer.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <utility>

namespace tessera::worker {
namespace {

TEST_CASE("a buffer is zeroed and aligned to pages") {
  auto buffer = Buffer::Allocate(10000, "a test");
  REQUIRE(buffer.ok());
  CHECK(buffer->size() == 10000);
  CHECK(reinterpret_cast<uintptr_t>(buffer->data()) % 4096 == 0);
  for (int64_t i = 0; i < buffer->size(); ++i) REQUIRE(buffer->data()[i] == std::byte{0});
  buffer->floats(64)[0] = 1.0f;
  CHECK(buffer->data()[64 + 3] == std::byte{0x3f});
}

TEST_CASE("a buffer moves with its memory, and an empty one has none") {
  Buffer first = *Buffer::Allocate(100, "a test");
  std::byte* data = first.data();
  Buffer second = std::move(first);
  CHECK(second.data() == data);
  CHECK(second.size() == 100);
  Buffer empty = *Buffer::Allocate(0, "a test");
  CHECK(empty.data() == nullptr);
}

TEST_CASE("memory that the system does not have is refused with what it was for") {
  const auto buffer = Buffer::Allocate(int64_t{1} << 60, "the KV cache");
  REQUIRE(absl::IsResourceExhausted(buffer.status()));
  CHECK_THAT(std::string(buffer.status().message()), Catch::Contains("the KV cache"));
}

}  // namespace
}  // namespace tessera::worker
