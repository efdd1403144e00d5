#include "shard_loader/format/decompress.h"

#include <blosc.h>
#include <zlib.h>
#include <zstd.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace tessera::shard_loader {
namespace {

using Bytes = std::vector<std::byte>;

Bytes Numbers(size_t count) {
  Bytes bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i / 3 % 251);
  return bytes;
}

Bytes Shuffled(const Bytes& bytes, size_t element) {
  Bytes out;
  const size_t elements = bytes.size() / element;
  for (size_t i = 0; i < element; ++i) {
    for (size_t j = 0; j < elements; ++j) out.push_back(bytes[j * element + i]);
  }
  out.insert(out.end(), bytes.begin() + static_cast<ptrdiff_t>(elements * element), bytes.end());
  return out;
}

Bytes Zlib(const Bytes& bytes) {
  Bytes out(compressBound(bytes.size()));
  uLongf size = out.size();
  compress(reinterpret_cast<Bytef*>(out.data()), &size,
           reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  out.resize(size);
  return out;
}

Bytes Zstd(const Bytes& bytes) {
  Bytes out(ZSTD_compressBound(bytes.size()));
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 1));
  return out;
}

Bytes Blosc(const Bytes& bytes) {
  Bytes out(bytes.size() + BLOSC_MAX_OVERHEAD);
  const int size = blosc_compress_ctx(5, BLOSC_SHUFFLE, 4, bytes.size(), bytes.data(), out.data(),
                                      out.size(), "lz4", 0, 1);
  REQUIRE(size > 0);
  out.resize(size);
  return out;
}

TEST_CASE("every codec gives back what its library compressed, and nothing of a damaged record") {
  const Bytes original = Numbers(10'003);
  const std::pair<RecordShape, Bytes> records[] = {
      {{Codec::kZlib, 1}, Zlib(original)},
      {{Codec::kShuffledZlib, 4}, Zlib(Shuffled(original, 4))},
      {{Codec::kZstd, 1}, Zstd(original)},
      {{Codec::kBlosc, 1}, Blosc(original)},
  };
  for (const auto& [shape, record] : records) {
    INFO("codec " << static_cast<int>(shape.codec));
    Bytes out(original.size());
    const absl::Status status = Decompress(shape, record, absl::MakeSpan(out), "x");
    INFO(status.ToString());
    REQUIRE(status.ok());
    CHECK(out == original);
    Bytes other(original.size() + 1);
    CHECK(absl::IsDataLoss(Decompress(shape, record, absl::MakeSpan(other), "x")));
    other.resize(original.size() - 1);
    CHECK(absl::IsDataLoss(Decompress(shape, record, absl::MakeSpan(other), "x")));
    const absl::Span<const std::byte> cut(record.data(), record.size() / 2);
    CHECK(absl::IsDataLoss(Decompress(shape, cut, absl::MakeSpan(out), "x")));
    CHECK(absl::IsDataLoss(Decompress(shape, {}, absl::MakeSpan(out), "x")));
  }
}

TEST_CASE("a record may not claim more than codecs can shrink") {
  CHECK(MayInflateTo(0, 1 << 16));
  CHECK(MayInflateTo(1 << 20, 1 << 30));
  CHECK_FALSE(MayInflateTo(1 << 10, 1 << 30));
}

TEST_CASE("a zstd frame of unknown size is read up to its limit") {
  const Bytes record = Zstd(Numbers(50'000));
  const std::string_view text(reinterpret_cast<const char*>(record.data()), record.size());
  CHECK(InflateZstd(text, 50'000, "x")->size() == 50'000);
  CHECK(absl::IsDataLoss(InflateZstd(text, 49'999, "x").status()));
  CHECK(absl::IsDataLoss(InflateZstd(text.substr(0, text.size() - 1), 50'000, "x").status()));
}

}  // namespace
}  // namespace tessera::shard_loader
