#include "shard_loader/load/scaled_fp8.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <vector>

#include "shard_loader/format/fp8.h"
#include "shard_loader/load/load_shard.h"
#include "shard_loader/plan/rounding.h"
#include "shard_loader/plan/slices.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using nlohmann::json;

constexpr int64_t kBlockRows = 24;
constexpr int64_t kBlockColumns = 40;

// A safetensors file, tensor by tensor.
class FileOfTensors {
 public:
  void Add(const std::string& name, const char* dtype, const std::vector<int64_t>& shape,
           const std::string& bytes) {
    header_[name] = {{"dtype", dtype},
                     {"shape", shape},
                     {"data_offsets", {data_.size(), data_.size() + bytes.size()}}};
    data_ += bytes;
  }
  void Write(const fs::path& path) const {
    std::string header = header_.dump();
    header.resize(RoundUp(static_cast<int64_t>(header.size()), 8), ' ');
    const uint64_t size = header.size();
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&size), sizeof(size));
    file << header << data_;
  }

 private:
  json header_;
  std::string data_;
};

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

uint16_t NarrowBits(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

enum class Scales { kOne, kByRow, kByBlock };

// A checkpoint of random numbers in FP8 and scales, and one of their products in bf16.
struct Pair {
  explicit Pair(Scales kind, const char* suffix = "_scale_inv", int64_t wrong_rows = 0) {
    const auto model = Checkpoint::Open(tests::Fixture("checkpoints/llama3_gqa")).value();
    std::mt19937 random(7);
    FileOfTensors fp8, bf16;
    for (const StoredTensor& tensor : model->tensors()) {
      const size_t count = static_cast<size_t>(NumElements(tensor.shape));
      if (tensor.name.find("_proj.weight") == std::string::npos) {
        std::vector<float> values(count);
        for (float& value : values) value = static_cast<float>(random() % 1000) * 0x1p-10f;
        fp8.Add(tensor.name, "F32", tensor.shape, BytesOf(values));
        bf16.Add(tensor.name, "F32", tensor.shape, BytesOf(values));
        continue;
      }
      const int64_t rows = tensor.shape[0];
      const int64_t columns = tensor.shape[1];
      const int64_t block_rows = kind == Scales::kOne     ? rows
                                 : kind == Scales::kByRow ? 1
                                                          : kBlockRows;
      const int64_t block_columns = kind == Scales::kByBlock ? kBlockColumns : columns;
      const int64_t width = CeilDiv(columns, block_columns);
      std::vector<float> scales(static_cast<size_t>(CeilDiv(rows, block_rows) * width));
      for (float& scale : scales) scale = static_cast<float>(1 + random() % 1000) * 0x1p-14f;
      std::vector<uint8_t> numbers(count);
      std::vector<uint16_t> products(count);
      for (size_t i = 0; i < count; ++i) {
        numbers[i] = static_cast<uint8_t>(random() % 127 + (random() % 2) * 128);
        const int64_t row = static_cast<int64_t>(i) / columns;
        const int64_t column = static_cast<int64_t>(i) % columns;
        const float scale = scales[row / block_rows * width + column / block_columns];
        products[i] = NarrowBits(DecodeE4M3(static_cast<std::byte>(numbers[i])) * scale);
      }
      fp8.Add(tensor.name, "F8_E4M3", tensor.shape, BytesOf(numbers));
      bf16.Add(tensor.name, "BF16", tensor.shape, BytesOf(products));
      std::vector<int64_t> shape = {CeilDiv(rows, block_rows) + wrong_rows, width};
      scales.resize(static_cast<size_t>(shape[0] * shape[1]));
      if (kind == Scales::kOne) shape = {};
      if (*suffix != 0) fp8.Add(tensor.name + suffix, "F32", shape, BytesOf(scales));
    }
    for (const auto& [folder, file] : {std::pair{&fp8_folder, &fp8}, {&bf16_folder, &bf16}}) {
      json config = tests::ReadJson(model->folder() / "config.json");
      if (file == &fp8) {
        config["quantization_config"] = {{"quant_method", "fp8"}};
        if (kind == Scales::kByBlock) {
          config["quantization_config"]["weight_block_size"] = {kBlockRows, kBlockColumns};
        }
      }
      std::ofstream(folder->path() / "config.json") << config.dump();
      file->Write(folder->path() / "model.safetensors");
    }
  }

  tests::TempDir fp8_folder;
  tests::TempDir bf16_folder;
};

std::map<TensorId, std::string> Load(const Checkpoint& checkpoint, const RankPlan& plan) {
  std::map<TensorId, std::string> slices;
  const auto stats = LoadShard(checkpoint, plan, [&](const HostTensor& got) {
    slices[got.id] +=
        std::string(reinterpret_cast<const char*>(got.bytes.data()), got.bytes.size());
    return absl::OkStatus();
  });
  REQUIRE(stats.ok());
  CHECK(stats->bytes_read == stats->bytes_total);
  return slices;
}

TEST_CASE("weights in FP8 are read as the products with their scales, by every rank its own") {
  for (const Scales kind : {Scales::kOne, Scales::kByRow, Scales::kByBlock}) {
    for (const char* suffix : {"_scale_inv", "_scale"}) {
      INFO(static_cast<int>(kind) << suffix);
      const Pair pair(kind, suffix);
      const auto fp8 = Checkpoint::Open(pair.fp8_folder.path());
      INFO(fp8.status().ToString());
      REQUIRE(fp8.ok());
      const auto bf16 = Checkpoint::Open(pair.bf16_folder.path()).value();
      CHECK((*fp8)->dtype() == bf16->dtype());
      CHECK((*fp8)->ignored().empty());
      for (const int tp : {1, 3}) {
        const auto plans = MakeRankPlans(bf16->spec(), {tp, 1, 8}).value();
        for (const RankPlan& plan : plans) CHECK(Load(**fp8, plan) == Load(*bf16, plan));
      }
    }
  }
}

TEST_CASE("FP8 without scales, or with scales that do not fit, is refused") {
  const Pair none(Scales::kOne, "");
  CHECK_THAT(std::string(Checkpoint::Open(none.fp8_folder.path()).status().message()),
             Contains("f8_e4m3") && Contains("FP8 with scales beside it"));
  const Pair wrong(Scales::kByBlock, "_scale", 1);
  CHECK_THAT(std::string(Checkpoint::Open(wrong.fp8_folder.path()).status().message()),
             Contains("weight_scale") && Contains("fits no scales"));
}

}  // namespace
}  // namespace tessera::shard_loader
