#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "shard_loader/format/decompress.h"
#include "shard_loader/io/file.h"
#include "shard_loader/io/hdf5_file.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

using Datasets = std::map<std::string, Hdf5Dataset>;

Datasets Read(const std::filesystem::path& path) {
  const auto found = ReadHdf5(path);
  INFO(found.status().ToString());
  REQUIRE(found.ok());
  Datasets datasets;
  for (const Hdf5Dataset& dataset : *found) datasets[dataset.path] = dataset;
  return datasets;
}

// The float32 matrix that the dataset's chunks hold.
std::vector<float> ValuesOf(const std::filesystem::path& path, const Hdf5Dataset& dataset) {
  File file = File::Open(path).value();
  const int64_t columns = dataset.shape[1];
  std::vector<float> values(dataset.shape[0] * columns, -1);
  const int64_t height = dataset.chunk_shape[0];
  const int64_t width = dataset.chunk_shape[1];
  for (const Hdf5Chunk& chunk : dataset.chunks) {
    std::vector<std::byte> stored(chunk.data.bytes);
    REQUIRE(file.ReadAt(chunk.data.offset, absl::MakeSpan(stored)).ok());
    std::vector<std::byte> bytes(height * width * sizeof(float));
    if (dataset.codec == Codec::kNone) {
      bytes = stored;
    } else {
      const absl::Status status =
          Decompress({dataset.codec, sizeof(float)}, stored, absl::MakeSpan(bytes), "layouts.h5");
      INFO(status.ToString());
      REQUIRE(status.ok());
    }
    REQUIRE(bytes.size() == height * width * sizeof(float));
    for (int64_t i = 0; i < height && chunk.origin[0] + i < dataset.shape[0]; ++i) {
      for (int64_t j = 0; j < width && chunk.origin[1] + j < columns; ++j) {
        std::memcpy(&values[(chunk.origin[0] + i) * columns + chunk.origin[1] + j],
                    bytes.data() + (i * width + j) * sizeof(float), sizeof(float));
      }
    }
  }
  return values;
}

TEST_CASE("datasets of every layout are found where their numbers lie") {
  const auto path = tests::Fixture("hdf5/layouts.h5");
  const Datasets datasets = Read(path);
  REQUIRE(datasets.size() == 7);
  std::vector<float> expected;
  for (int i = 0; i < 7; ++i) {
    for (int j = 0; j < 10; ++j) expected.push_back(5.0f * i + j / 2.0f);
  }
  for (const auto& [name, codec] :
       {std::pair("contiguous", Codec::kNone), std::pair("chunked", Codec::kNone),
        std::pair("deflated", Codec::kZlib), std::pair("shuffled", Codec::kShuffledZlib)}) {
    INFO(name);
    const Hdf5Dataset& dataset = datasets.at(std::string("layer/model/") + name);
    CHECK(dataset.type == StoredType::kF32);
    CHECK(dataset.shape == std::vector<int64_t>{7, 10});
    CHECK(dataset.codec == codec);
    CHECK(ValuesOf(path, dataset) == expected);
  }
  CHECK(datasets.at("layer/model/half").type == StoredType::kF16);
  CHECK(datasets.at("layer/model/double").type == StoredType::kF64);
  CHECK(datasets.at("layer/model/text").type == StoredType::kOther);
}

TEST_CASE("the places are those that h5py gives for Keras' file") {
  const Datasets datasets = Read(tests::Fixture("formats/tf_h5_gpt2/tf_model.h5"));
  CHECK(datasets.size() == 28);
  const Hdf5Dataset& embedding =
      datasets.at("transformer/tfgpt2lm_head_model/transformer/wte/weight:0");
  CHECK(embedding.shape == std::vector<int64_t>{512, 64});
  REQUIRE(embedding.chunks.size() == 1);
  CHECK(embedding.chunks[0].data.offset == 9928);
  CHECK(embedding.chunks[0].data.bytes == 512 * 64 * 4);
  const Hdf5Dataset& bias =
      datasets.at("transformer/tfgpt2lm_head_model/transformer/h_._1/mlp/c_proj/bias:0");
  CHECK(bias.shape == std::vector<int64_t>{1, 64});
  CHECK(bias.chunks.at(0).data.offset == 698280);
}

TEST_CASE("data of other files and other filters are refused by name") {
  const absl::Status external = ReadHdf5(tests::Fixture("hdf5/external.h5")).status();
  CHECK(absl::IsUnimplemented(external));
  CHECK(external.message().find("another file") != std::string::npos);
  const absl::Status filtered = ReadHdf5(tests::Fixture("hdf5/filtered.h5")).status();
  CHECK(absl::IsUnimplemented(filtered));
  CHECK(filtered.message().find("filter 3") != std::string::npos);
  CHECK(Read(tests::Fixture("hdf5/linked.h5")).empty());
}

TEST_CASE("an HDF5 file that crashes the library is refused, and nothing else ends") {
  const absl::Status status = ReadHdf5(tests::Fixture("hdf5/crashes_library.h5")).status();
  CHECK(absl::IsDataLoss(status));
  CHECK(status.message().find("crashes_library.h5") != std::string::npos);
}

TEST_CASE("a truncated HDF5 file is refused") {
  const std::string whole = tests::ReadFile(tests::Fixture("hdf5/layouts.h5"));
  tests::TempDir folder;
  const auto path = folder.path() / "tf_model.h5";
  for (size_t size = 0; size < whole.size(); size += 97) {
    std::ofstream(path, std::ios::binary) << whole.substr(0, size);
    const absl::Status status = ReadHdf5(path).status();
    INFO(size << ": " << status.ToString());
    CHECK(absl::IsDataLoss(status));
  }
  CHECK(absl::IsNotFound(ReadHdf5(folder.path() / "none.h5").status()));
}

}  // namespace
}  // namespace tessera::shard_loader
