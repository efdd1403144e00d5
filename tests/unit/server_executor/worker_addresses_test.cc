#include "server/executor/worker_addresses.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

TEST_CASE("addresses of workers are taken in the order of the ranks") {
  auto found = ResolveWorkers({"10.0.0.2:9000", "[::1]:9000", "unix:/run/w.sock"}, 3);
  REQUIRE(found.ok());
  CHECK(*found == std::vector<std::string>{"10.0.0.2:9000", "[::1]:9000", "unix:/run/w.sock"});
}

TEST_CASE("as many workers as ranks are needed") {
  CHECK(absl::IsInvalidArgument(ResolveWorkers({"a:1"}, 2).status()));
}

TEST_CASE("what is no address is refused by name") {
  for (const char* entry : {"host", ":9000", "host:", "host:0", "host:65536", "host:x", "dns:name",
                            "dns::9000", "dns:name:x", "unix:relative"}) {
    INFO(entry);
    absl::Status status = ResolveWorkers({entry}, 1).status();
    CHECK(absl::IsInvalidArgument(status));
    CHECK(std::string(status.message()).find(entry) != std::string::npos);
  }
}

TEST_CASE("a name is looked up, and must have as many addresses as there are ranks") {
  auto found = ResolveWorkers({"dns:127.0.0.1:9000"}, 1);
  REQUIRE(found.ok());
  CHECK(*found == std::vector<std::string>{"127.0.0.1:9000"});
  CHECK(absl::IsUnavailable(ResolveWorkers({"dns:127.0.0.1:9000"}, 2).status()));
}

TEST_CASE("the workers of several groups stand group by group, or behind a name for each") {
  using Groups = std::vector<std::vector<std::string>>;
  CHECK(*WorkersOfGroups({"a:1", "b:1", "c:1", "d:1"}, 2, 2) ==
        Groups{{"a:1", "b:1"}, {"c:1", "d:1"}});
  CHECK(*WorkersOfGroups({"dns:a:1", "dns:b:1"}, 2, 4) == Groups{{"dns:a:1"}, {"dns:b:1"}});
  CHECK(*WorkersOfGroups({}, 3, 2) == Groups(3));
  CHECK(*WorkersOfGroups({"dns:a:1"}, 1, 2) == Groups{{"dns:a:1"}});
  for (const auto& wrong : Groups{{"a:1", "b:1", "c:1"}, {"dns:a:1"}}) {
    absl::Status status = WorkersOfGroups(wrong, 2, 2).status();
    CHECK(absl::IsInvalidArgument(status));
    CHECK(std::string(status.message()).find("dp x tp x pp is 4") != std::string::npos);
  }
}

}  // namespace
}  // namespace tessera::server
