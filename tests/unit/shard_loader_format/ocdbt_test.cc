#include "shard_loader/format/ocdbt.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

// Files of a database that Orbax wrote; `changed` stands for the file of its name.
struct Database {
  std::string changed_file;
  std::string changed;

  absl::StatusOr<std::map<std::string, OcdbtValue>> Read() const {
    return ReadOcdbt(
        [this](const std::string& file, const ByteRange& range) -> absl::StatusOr<std::string> {
          const auto path = tests::Fixture("formats/orbax_ocdbt_llama/default/" + file);
          const std::string whole = file == changed_file ? changed : tests::ReadFile(path);
          if (range.bytes == UINT64_MAX) return whole;
          if (range.offset > whole.size() || range.bytes > whole.size() - range.offset) {
            return absl::DataLossError("past the end");
          }
          return whole.substr(range.offset, range.bytes);
        });
  }
};

TEST_CASE("the values of Orbax's own database are found, inline or in their files") {
  const auto values = Database{}.Read();
  INFO(values.status().ToString());
  REQUIRE(values.ok());
  const auto metadata = values->find("params.model.norm.weight/.zarray");
  REQUIRE(metadata != values->end());
  CHECK(metadata->second.file.empty());
  CHECK(metadata->second.inlined.find("\"zarr_format\":2") != std::string::npos);
  const auto chunk = values->find("params.model.embed_tokens.embedding/0.0");
  REQUIRE(chunk != values->end());
  CHECK(chunk->second.file.starts_with("ocdbt.process_0/d/"));
  CHECK(chunk->second.data.bytes > 10000);
}

TEST_CASE("a manifest that is cut off or changed is refused") {
  const std::string whole =
      tests::ReadFile(tests::Fixture("formats/orbax_ocdbt_llama/default/manifest.ocdbt"));
  for (size_t size = 0; size < whole.size(); ++size) {
    INFO(size);
    CHECK(absl::IsDataLoss(Database{kOcdbtManifest, whole.substr(0, size)}.Read().status()));
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] ^= 0x21;
    INFO(at);
    CHECK(absl::IsDataLoss(Database{kOcdbtManifest, changed}.Read().status()));
  }
}

}  // namespace
}  // namespace tessera::shard_loader
