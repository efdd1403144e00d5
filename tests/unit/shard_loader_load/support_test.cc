#include "shard_loader/load/support.h"

#include <catch2/catch.hpp>

#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

TEST_CASE("SUPPORT.md is what the tables say; write it anew with the target support_table") {
  CHECK(tests::ReadFile(tests::Fixture("../../shard_loader/SUPPORT.md")) == SupportMarkdown());
}

}  // namespace
}  // namespace tessera::shard_loader
