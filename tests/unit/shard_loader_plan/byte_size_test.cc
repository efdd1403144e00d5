#include "shard_loader/plan/byte_size.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

TEST_CASE("sizes are numbers with a unit, of 1,024 unless it ends in a plain B") {
  CHECK(ParseBytes("1") == 1);
  CHECK(ParseBytes("65536") == 65536);
  CHECK(ParseBytes("640 B") == 640);
  CHECK(ParseBytes("512k") == 512 * 1024);
  CHECK(ParseBytes("512M") == int64_t{512} << 20);
  CHECK(ParseBytes("4GiB") == int64_t{4} << 30);
  CHECK(ParseBytes("4Gi") == int64_t{4} << 30);
  CHECK(ParseBytes("1.5 GiB") == int64_t{3} << 29);
  CHECK(ParseBytes("2TB") == 2'000'000'000'000);
  CHECK(ParseBytes("3kB") == 3000);
  CHECK(ParseBytes("4096T") == int64_t{1} << 52);
}

TEST_CASE("what is no size is refused, and so is less than a byte or more than 4 PiB") {
  for (const char* text :
       {"", " ", "GiB", "4 XiB", "4GiBs", "4Gb", "-4GiB", "+1G", "4,5G", "1.2.3", "4 GiB left",
        "1e3", "0x10", "nan", "inf", "0", "0.5", "4097T", "99999999999999999999999999T"}) {
    INFO(text);
    CHECK_FALSE(ParseBytes(text).has_value());
  }
}

}  // namespace
}  // namespace tessera::shard_loader
