#include "worker/backend/nvml.h"

#include <catch2/catch.hpp>

namespace tessera::worker {
namespace {

using Catch::Matchers::Contains;

const std::vector<std::string> kBuses = {"0000:17:00.0", "0000:18:00.0"};

std::string Fake(const char* kind) { return std::string(FAKE_PLUGINS) + "/nvml_" + kind + ".so"; }

TEST_CASE("devices, clocks and links are told, with zeros for what a device does not tell") {
  const auto facts = ReadNvml(Fake("nvlink"), kBuses);
  INFO(facts.status().ToString());
  REQUIRE(facts.ok());
  CHECK(facts->driver == "580.65.06");
  REQUIRE(facts->devices.size() == 2);
  CHECK(facts->devices[0].clock_mhz == 0);
  CHECK(facts->devices[0].slowed_by.empty());
  CHECK(facts->devices[0].nvlinks == 17);
  CHECK(facts->devices[1].clock_mhz == 1200);
  CHECK(facts->devices[1].max_clock_mhz == 1980);
  CHECK(facts->devices[1].memory_clock_mhz == 2600);
  CHECK(facts->devices[1].slowed_by == "power, heat");
  CHECK(facts->devices[1].pcie_generation == 5);
  CHECK(facts->devices[1].pcie_width == 16);
  REQUIRE(facts->links.size() == 1);
  CHECK(facts->links[0].path == "NVLink");
  CHECK(facts->links[0].peer_access);
}

TEST_CASE("devices without NVLink are told by what is between them") {
  const auto facts = ReadNvml(Fake("pcie"), kBuses);
  REQUIRE(facts.ok());
  CHECK(facts->links[0].path == "PCIe switches");
}

TEST_CASE("what is missing is told in one sentence") {
  CHECK_THAT(std::string(ReadNvml("libnone.so", kBuses).status().message()),
             Contains("nvml: the management library is missing"));
  CHECK_THAT(std::string(ReadNvml(Fake("old"), kBuses).status().message()),
             Contains("is too old: it has no nvmlInit_v2"));
  CHECK(ReadNvml(Fake("nvlink"), {"0001:00:00.0"}).status().message() ==
        "nvml: the device at 0001:00:00.0: Not Found");
}

}  // namespace
}  // namespace tessera::worker
