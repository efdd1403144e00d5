#include "worker/backend/cuda_library.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

namespace tessera::worker {
namespace {

using Catch::Matchers::Contains;

std::string Fake(const std::string& kind) { return std::string(FAKE_PLUGINS) + "/" + kind; }

std::string Problem(const std::string& folder) {
  const auto facts = FindCuda(folder);
  REQUIRE_FALSE(facts.ok());
  CHECK(facts.status().code() == absl::StatusCode::kFailedPrecondition);
  return std::string(facts.status().message());
}

TEST_CASE("a plugin that is not there is missed by name, with the folder") {
  CHECK_THAT(
      Problem("/nonexistent"),
      Contains("libtessera_cuda.so was not found in /nonexistent") && Contains("--backend-dir"));
}

TEST_CASE("a file that is no library says what the loader says") {
  const auto folder = std::filesystem::temp_directory_path() / "tessera_cuda_library_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "libtessera_cuda.so") << "not a library";
  CHECK_THAT(Problem(folder.string()), Contains("cannot load the plugin"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("a plugin of another build is refused") {
  CHECK_THAT(Problem(Fake("other_build")), Contains("is not the plugin of this version"));
}

TEST_CASE("a machine without a driver is told so in the plugin's words") {
  CHECK(Problem(Fake("no_driver")) == "cuda: there is no NVIDIA driver");
}

TEST_CASE("a device that is too old is named with what it has and what is needed") {
  CHECK(Problem(Fake("old_device")) ==
        "cuda: device 0, Tesla T4, has compute capability 7.5; this build needs 8.0 or more");
}

TEST_CASE("of two devices the one that can is used, under its own number") {
  const auto facts = FindCuda(Fake("two_devices"));
  REQUIRE(facts.ok());
  REQUIRE(facts->devices.size() == 1);
  CHECK(facts->devices[0].index == 1);
  CHECK(facts->devices[0].name == "NVIDIA H100");
  CHECK(facts->driver == "12.4");
  CHECK(facts->runtime == "13.0");
}

TEST_CASE("a backend is made only of a device and a set that are there") {
  CHECK(MakeCudaBackend(Fake("two_devices"), "avx2", 1).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(MakeCudaBackend(Fake("two_devices"), "cuda", 0).status().message()),
             Contains("there is no device 0 to use; there are 1"));
  CHECK(MakeCudaBackend(Fake("two_devices"), "cuda", 1).status().message() == "the device is busy");
}

}  // namespace
}  // namespace tessera::worker
