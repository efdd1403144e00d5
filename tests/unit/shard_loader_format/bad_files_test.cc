// Every malformed file of its kind goes through that format's own reader.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "shard_loader/format/byte_source.h"
#include "shard_loader/format/flax.h"
#include "shard_loader/format/gguf.h"
#include "shard_loader/format/torch_file.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

absl::Status ReadAs(const std::string& kind, const ByteSource& file) {
  if (kind == "pickle") return TorchFile::Read(file).status();
  if (kind == "gguf") return GgufFile::Read(file).status();
  if (kind == "msgpack") return ReadFlax(file).status();
  FAIL("no reader for " + kind);
  return absl::OkStatus();
}

int CheckKind(const std::string& kind) {
  int checked = 0;
  const nlohmann::json manifest = tests::ReadJson(tests::Fixture("bad/manifest.json"));
  for (const auto& entry : manifest["entries"]) {
    if (entry["kind"].get<std::string>() != kind) continue;
    for (const std::string file : entry["files"]) {
      const std::string path = "bad/" + std::string(entry["name"]) + "/" + file;
      const std::string bytes = tests::ReadFile(tests::Fixture(path));
      const absl::Status status = ReadAs(kind, MemorySource(file, bytes));
      INFO(path << ": " << status.ToString());
      const bool may_be_read = std::string(entry["expect"]).starts_with("refused, or");
      CHECK((may_be_read || !status.ok()));
      if (!status.ok()) CHECK(status.message().find("shard_loader: " + file) == 0);
      ++checked;
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator("/tmp")) {
    CHECK_FALSE(entry.path().filename().string().starts_with("PWNED_"));
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  CHECK(usage.ru_maxrss < (256 << 10));  // KiB
  return checked;
}

TEST_CASE("malformed pickles are refused and run nothing") { CHECK(CheckKind("pickle") == 16); }

TEST_CASE("malformed GGUF files are refused") { CHECK(CheckKind("gguf") == 10); }

TEST_CASE("malformed msgpack files are refused") { CHECK(CheckKind("msgpack") == 3); }

}  // namespace
}  // namespace tessera::shard_loader
