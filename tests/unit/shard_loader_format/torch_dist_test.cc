#include "shard_loader/format/torch_dist.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

const DistTensor& Named(const std::vector<DistTensor>& tensors, std::string_view name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const DistTensor& tensor) { return tensor.name == name; });
  REQUIRE(found != tensors.end());
  return *found;
}

std::vector<DistTensor> Read(const std::string& path) {
  const auto tensors = ParseTorchDist(tests::ReadFile(tests::Fixture(path)), ".metadata");
  INFO(tensors.status().ToString());
  REQUIRE(tensors.ok());
  return *tensors;
}

TEST_CASE("PyTorch's own index tells where every chunk lies") {
  const auto tensors = Read("formats/torch_dist_llama/.metadata");
  const DistTensor& output = Named(tensors, "model.model.layers.0.self_attn.o_proj.weight");
  CHECK(output.shape == std::vector<int64_t>{32, 32});
  REQUIRE(output.chunks.size() == 2);
  CHECK(output.chunks[1].origin == std::vector<int64_t>{0, 16});
  CHECK(output.chunks[1].sizes == std::vector<int64_t>{32, 16});
  CHECK(output.chunks[1].file == "__1_0.distcp");
}

TEST_CASE("Megatron-Core's index has the layers in front") {
  const auto tensors = Read("formats/megatron_dist_llama_tp2_pp2/iter_0000010/.metadata");
  const DistTensor& qkv = Named(tensors, "decoder.layers.self_attention.linear_qkv.weight");
  CHECK(qkv.shape == std::vector<int64_t>{4, 96, 32});
  CHECK(qkv.chunks.size() == 8);
  CHECK(qkv.chunks[0].sizes == std::vector<int64_t>{1, 48, 32});
}

TEST_CASE("an index that is cut off is refused, and one that names another folder too") {
  const std::string whole = tests::ReadFile(tests::Fixture("formats/torch_dist_llama/.metadata"));
  for (size_t size = 0; size < whole.size(); size += 61) {
    INFO(size);
    CHECK_FALSE(ParseTorchDist(whole.substr(0, size), ".metadata").ok());
  }
  std::string traversal = whole;
  traversal.replace(traversal.find("__1_0.distcp"), 12, "../../distcp");
  const absl::Status status = ParseTorchDist(traversal, ".metadata").status();
  CHECK(absl::IsDataLoss(status));
  CHECK(status.message().find("no plain file") != std::string::npos);
}

}  // namespace
}  // namespace tessera::shard_loader
