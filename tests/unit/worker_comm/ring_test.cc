#include "worker/comm/ring.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

namespace tessera::worker {
namespace {

struct Memory {
  RingControl control{};
  std::byte data[8] = {};
  Ring writer{&control, data, 8};
  Ring reader{&control, data, 8};

  size_t Write(const std::string& text) {
    return writer.Write({reinterpret_cast<const std::byte*>(text.data()), text.size()}).value();
  }
  std::string Read(size_t bytes, bool expect_waiting_writer = false) {
    std::string text(bytes, '?');
    bool waits = false;
    text.resize(reader.Read({reinterpret_cast<std::byte*>(text.data()), bytes}, waits).value());
    CHECK(waits == expect_waiting_writer);
    return text;
  }
};

TEST_CASE("a ring gives back what was written, around its end") {
  Memory ring;
  CHECK(ring.Read(4) == "");
  CHECK(ring.Write("abcdef") == 6);
  CHECK(ring.Read(4) == "abcd");
  CHECK(ring.Write("ghijkl") == 6);
  CHECK(ring.Read(20) == "efghijkl");
  CHECK(ring.Read(1) == "");
}

TEST_CASE("a full ring takes what fits, and its reader learns that the writer waits") {
  Memory ring;
  CHECK(ring.Write("0123456789") == 8);
  CHECK(ring.Write("x") == 0);
  CHECK(ring.Read(3) == "012");
  CHECK(ring.Read(3, true) == "345");  // half of it is free
  CHECK(ring.Write("abcdefgh") == 6);
  CHECK(ring.Read(8, true) == "67abcdef");
}

TEST_CASE("a ring whose counts were overwritten is an error at both ends") {
  Memory ring;
  bool waits = false;
  std::byte byte{};
  ring.control.written.store(9);
  CHECK(absl::IsInternal(ring.reader.Read({&byte, 1}, waits).status()));
  ring.control.read.store(1);
  CHECK(absl::IsInternal(ring.writer.Write({&byte, 1}).status()));
}

}  // namespace
}  // namespace tessera::worker
