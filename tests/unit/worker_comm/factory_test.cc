#include "worker/comm/factory.h"

#include <catch2/catch.hpp>

namespace tessera::worker {
namespace {

TEST_CASE("a group of one rank needs no transport") {
  CommOptions options;
  options.kind = "none";
  auto comms = ConnectGroup(options);
  REQUIRE(comms.ok());
  CHECK(comms->group->size() == 1);
  CHECK(comms->tensor->size() == 1);
  CHECK(comms->group->Barrier().ok());
}

TEST_CASE("an unknown kind is refused with those that there are") {
  CommOptions options;
  options.kind = "pigeon";
  options.tp = 2;
  const absl::Status status = ConnectGroup(options).status();
  CHECK(absl::IsUnimplemented(status));
  CHECK(std::string(status.message()).find("'pigeon' here; this worker has shm") !=
        std::string::npos);
}

TEST_CASE("a rank outside its group is refused") {
  CommOptions options;
  options.tp = 2;
  options.pp = 2;
  options.rank = 4;
  CHECK(absl::IsInvalidArgument(ConnectGroup(options).status()));
  options.rank = -1;
  CHECK(absl::IsInvalidArgument(ConnectGroup(options).status()));
}

TEST_CASE("a descriptor that is no region is refused") {
  CommOptions options;
  options.tp = 2;
  options.shm_fd = -1;
  CHECK(absl::IsFailedPrecondition(ConnectGroup(options).status()));
}

TEST_CASE("an MPI plugin that is missing is refused with a hint") {
  CommOptions options;
  options.kind = "mpi";
  options.tp = 2;
  options.plugin_dir = "/nonexistent";
  const absl::Status status = ConnectGroup(options).status();
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(std::string(status.message()).find("--backend-dir") != std::string::npos);
}

}  // namespace
}  // namespace tessera::worker
