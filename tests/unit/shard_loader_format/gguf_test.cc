#include "shard_loader/format/gguf.h"

#include <catch2/catch.hpp>

#include "shard_loader/format/gguf_vocabulary.h"
#include "tests/support/fixtures.h"
#include "tests/unit/shard_loader_format/zip_builder.h"

namespace tessera::shard_loader {
namespace {

void PutText(std::string* out, const std::string& text) {
  Put<uint64_t>(out, text.size());
  *out += text;
}

void PutHeader(std::string* out, uint64_t tensors, uint64_t keys) {
  *out += "GGUF";
  Put<uint32_t>(out, 3);
  Put<uint64_t>(out, tensors);
  Put<uint64_t>(out, keys);
}

void PutTensor(std::string* out, const std::string& name, std::vector<uint64_t> fastest_first,
               uint32_t type, uint64_t offset) {
  PutText(out, name);
  Put<uint32_t>(out, static_cast<uint32_t>(fastest_first.size()));
  for (const uint64_t size : fastest_first) Put<uint64_t>(out, size);
  Put<uint32_t>(out, type);
  Put<uint64_t>(out, offset);
}

// One key, a Q8_0 matrix of 2 rows and 64 columns, and a vector of 3 f32.
std::string SmallFile() {
  std::string out;
  PutHeader(&out, 2, 1);
  PutText(&out, "a.count");
  Put<uint32_t>(&out, 4);
  Put<uint32_t>(&out, 7);
  PutTensor(&out, "m", {64, 2}, 8, 0);
  PutTensor(&out, "v", {3}, 0, 160);
  out.resize((out.size() + 31) / 32 * 32);
  out.append(160 + 12, 'd');  // 4 blocks of 34, padded
  return out;
}

absl::StatusOr<std::unique_ptr<GgufFile>> Read(const std::string& bytes) {
  return GgufFile::Read(MemorySource("x.gguf", bytes));
}

TEST_CASE("a GGUF header gives metadata and tensors, the fastest dimension last") {
  const std::string bytes = SmallFile();
  const auto file = Read(bytes);
  INFO(file.status().ToString());
  REQUIRE(file.ok());
  CHECK((*file)->Find("a.count")->Integer() == 7);
  CHECK((*file)->Find("a.count")->Number() == 7.0);
  CHECK_FALSE((*file)->Find("a.count")->Text());
  CHECK((*file)->Find("b") == nullptr);
  const IndexedTensor* matrix = (*file)->index().Find("m");
  REQUIRE(matrix != nullptr);
  CHECK(matrix->type == StoredType::kQ8_0);
  CHECK(matrix->shape == std::vector<int64_t>{2, 64});
  CHECK(matrix->data.bytes == 136);
  CHECK(matrix->data.offset == bytes.size() - 172);
  CHECK((*file)->index().Find("v")->data.offset == bytes.size() - 12);
}

TEST_CASE("every way to cut a GGUF file is data loss") {
  const std::string bytes = SmallFile();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK(absl::IsDataLoss(Read(bytes.substr(0, size)).status()));
  }
}

TEST_CASE("overlaps, bad alignment and unsupported quantisations are refused") {
  std::string out;
  PutHeader(&out, 2, 0);
  PutTensor(&out, "a", {8}, 0, 0);
  PutTensor(&out, "b", {8}, 0, 0);
  CHECK(absl::IsDataLoss(Read(out + std::string(200, 'd')).status()));
  out.clear();
  PutHeader(&out, 1, 0);
  PutTensor(&out, "a", {8}, 0, 4);
  CHECK(absl::IsDataLoss(Read(out + std::string(200, 'd')).status()));
  out.clear();
  PutHeader(&out, 1, 0);
  PutTensor(&out, "a", {256}, 10, 0);
  const absl::Status quantised = Read(out + std::string(200, 'd')).status();
  CHECK(absl::IsUnimplemented(quantised));
  CHECK(quantised.message().find("Q2_K") != std::string::npos);
  out.clear();
  PutHeader(&out, 1, 0);
  PutTensor(&out, "a", {33, 2}, 8, 0);  // rows that are no whole blocks
  CHECK(absl::IsDataLoss(Read(out + std::string(400, 'd')).status()));
}

TEST_CASE("a file carries its tokenizer and chat template") {
  const std::string bytes =
      tests::ReadFile(tests::Fixture("formats/gguf_llama_q4_0/model-Q4_0.gguf"));
  const auto file = Read(bytes);
  REQUIRE(file.ok());
  const auto vocabulary = ReadVocabulary(**file, "x.gguf");
  REQUIRE(vocabulary.ok());
  CHECK(vocabulary->model == "llama");
  CHECK(vocabulary->tokens.size() == 512);
  CHECK(vocabulary->tokens[1] == "<s>");
  CHECK(vocabulary->kinds[3] == GgufVocabulary::Kind::kByte);
  CHECK(vocabulary->scores.size() == 512);
  CHECK(vocabulary->bos_id == 1);
  CHECK(vocabulary->eos_id == 2);
  CHECK(vocabulary->add_bos == true);
  CHECK(vocabulary->add_eos == false);
  CHECK_FALSE(vocabulary->pad_id);
  CHECK(vocabulary->chat_template.find("messages") != std::string::npos);
  CHECK(absl::IsNotFound(ReadVocabulary(**Read(SmallFile()), "x.gguf").status()));
}

}  // namespace
}  // namespace tessera::shard_loader
