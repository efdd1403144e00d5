#include "worker/app/listen_address.h"

#include <catch2/catch.hpp>

namespace tessera::worker {
namespace {

std::string Parsed(const std::string& text, std::optional<int> rank = std::nullopt) {
  auto address = ParseListenAddress(text, rank);
  return address.ok() ? address->ToString() : "refused";
}

TEST_CASE("a worker listens on a host's port or on a socket's path") {
  CHECK(Parsed("127.0.0.1:9000") == "127.0.0.1:9000");
  CHECK(Parsed("[::1]:0") == "[::1]:0");
  CHECK(Parsed("unix:/run/w.sock") == "unix:/run/w.sock");
  CHECK(ParseListenAddress("host:1", std::nullopt)->is_tcp());
  CHECK_FALSE(ParseListenAddress("unix:/a", std::nullopt)->is_tcp());
}

TEST_CASE("ranks under mpirun get an address each") {
  CHECK(Parsed("host:9000", 3) == "host:9003");
  CHECK(Parsed("host:0", 3) == "host:0");
  CHECK(Parsed("unix:/run/rank-%r.sock", 3) == "unix:/run/rank-3.sock");
  CHECK(Parsed("unix:/run/rank-%r.sock") == "unix:/run/rank-%r.sock");
}

TEST_CASE("what is no address is refused with the forms that are") {
  for (const char* text : {"", "host", ":9000", "host:", "host:x", "host:-1", "host:65536",
                           "::1:9000", "unix:relative", "unix:"}) {
    INFO(text);
    absl::Status status = ParseListenAddress(text, std::nullopt).status();
    CHECK(absl::IsInvalidArgument(status));
    CHECK(std::string(status.message()).find("unix:/absolute/path") != std::string::npos);
  }
  CHECK(Parsed("host:65535", 1) == "refused");
  CHECK(Parsed("unix:/" + std::string(108, 'x')) == "refused");
}

}  // namespace
}  // namespace tessera::worker
