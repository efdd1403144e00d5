// Every format's checkpoint hands each rank the same numbers as the Hugging Face checkpoint that it
// was made from, at every layout, and reads no more than the plan says.
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "shard_loader/load/checkpoint.h"
#include "shard_loader/load/load_shard.h"
#include "shard_loader/model/gguf.h"
#include "shard_loader/model/megatron.h"
#include "shard_loader/model/tensors.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

using Slices = std::map<TensorId, std::vector<std::byte>>;

std::unique_ptr<Checkpoint> Open(const std::string& fixture) {
  absl::StatusOr<std::unique_ptr<Checkpoint>> checkpoint =
      Checkpoint::Open(tests::Fixture(fixture));
  INFO(fixture << ": " << checkpoint.status().ToString());
  REQUIRE(checkpoint.ok());
  return *std::move(checkpoint);
}

// What every rank of the layout is handed; `bytes_read` gets the sum over the ranks.
std::vector<Slices> LoadAll(const Checkpoint& checkpoint, const Layout& layout,
                            uint64_t* bytes_read) {
  const auto plans = MakeRankPlans(checkpoint.spec(), layout);
  REQUIRE(plans.ok());
  std::vector<Slices> ranks;
  for (const RankPlan& plan : *plans) {
    Slices slices;
    const auto stats = LoadShard(checkpoint, plan, [&](const HostTensor& tensor) {
      slices[tensor.id].assign(tensor.bytes.begin(), tensor.bytes.end());
      return absl::OkStatus();
    });
    INFO(stats.status().ToString());
    REQUIRE(stats.ok());
    CHECK(stats->bytes_read == stats->bytes_total);
    CHECK(stats->bytes_read == *ShardBytes(checkpoint, plan));
    *bytes_read += stats->bytes_read;
    ranks.push_back(std::move(slices));
  }
  return ranks;
}

void CheckSameSpec(const DecoderSpec& a, const DecoderSpec& b) {
  CHECK(a.family == b.family);
  CHECK(a.num_layers == b.num_layers);
  CHECK(a.hidden_size == b.hidden_size);
  CHECK(a.vocab_size == b.vocab_size);
  CHECK(a.norm_epsilon == b.norm_epsilon);
  CHECK(a.rope.theta == b.rope.theta);
  CHECK(a.rope.scaling == b.rope.scaling);
  CHECK(a.attention.num_heads == b.attention.num_heads);
  CHECK(a.attention.num_kv_heads == b.attention.num_kv_heads);
  CHECK(a.attention.head_size == b.attention.head_size);
  CHECK(a.attention.qkv_bias == b.attention.qkv_bias);
  CHECK(a.attention.qk_norm == b.attention.qk_norm);
  CHECK(a.attention.windows == b.attention.windows);
  CHECK(a.mlp.intermediate_size == b.mlp.intermediate_size);
  CHECK(a.mlp.activation == b.mlp.activation);
  CHECK(a.tied_embeddings == b.tied_embeddings);
}

struct Case {
  const char* folder;
  const char* source;
  const char* format;
  bool allows_slicing = true;  // no more bytes are read than the rank's slices have
};

constexpr Case kCases[] = {
    {"formats/pytorch_bin", "checkpoints/llama_small", "pytorch"},
    {"formats/pytorch_bin_legacy", "checkpoints/llama_small", "pytorch"},
    {"formats/pytorch_bin_sharded", "checkpoints/llama_small", "pytorch"},
    {"formats/pytorch_bin_views", "checkpoints/llama_small", "pytorch"},
    {"formats/gguf_llama_f32", "checkpoints/llama_small", "gguf"},
    {"formats/meta_llama_mp2", "checkpoints/llama_small", "meta"},
    {"formats/meta_llama3_mp2", "checkpoints/llama_gqa_plain", "meta"},
    {"formats/megatron_llama_tp2", "checkpoints/llama_small", "megatron"},
    {"formats/megatron_core_llama_gqa_tp2", "checkpoints/llama_gqa_plain", "megatron"},
    {"formats/deepspeed", "checkpoints/llama_small", "deepspeed"},
    {"formats/deepspeed_zero3", "checkpoints/llama_small", "deepspeed"},
    {"formats/flax_llama", "checkpoints/llama_small", "flax"},
    {"formats/numpy_npz", "checkpoints/llama_small", "npz"},
    {"formats/torch_dist_llama", "checkpoints/llama_small", "torch_dist"},
    {"formats/megatron_dist_llama_tp2_pp2", "checkpoints/llama_small", "megatron"},
    {"formats/deepspeed_universal", "checkpoints/llama_small", "deepspeed_universal"},
    {"formats/tensorflow_llama", "checkpoints/llama_small", "tensorflow"},
    {"formats/t5x_llama", "checkpoints/llama_small", "t5x", false},
    {"formats/orbax_llama", "checkpoints/llama_small", "orbax", false},
    {"formats/orbax_ocdbt_llama", "checkpoints/llama_small", "orbax", false},
    {"formats/orbax_zarr3_llama", "families/llama_yarn", "orbax", false},
};

TEST_CASE("every format gives each rank the numbers of its source, at every layout") {
  for (const Case& test : kCases) {
    const auto checkpoint = Open(test.folder);
    const auto source = Open(test.source);
    INFO(test.folder);
    CHECK(checkpoint->format() == test.format);
    CheckSameSpec(checkpoint->spec(), source->spec());
    for (const Layout& layout : {Layout{1, 1}, Layout{2, 1}, Layout{3, 1}, Layout{4, 2}}) {
      uint64_t bytes = 0;
      uint64_t source_bytes = 0;
      const std::vector<Slices> ranks = LoadAll(*checkpoint, layout, &bytes);
      const std::vector<Slices> expected = LoadAll(*source, layout, &source_bytes);
      REQUIRE(ranks.size() == expected.size());
      for (size_t rank = 0; rank < ranks.size(); ++rank) {
        REQUIRE(ranks[rank].size() == expected[rank].size());
        for (const auto& [id, slice] : expected[rank]) {
          INFO(TensorName(id) << " of rank " << rank << " at tp " << layout.tp << " pp "
                              << layout.pp);
          REQUIRE(ranks[rank].contains(id));
          CHECK(ranks[rank].at(id) == slice);
        }
      }
      if (test.allows_slicing) CHECK(bytes == source_bytes);
    }
  }
}

// A copy of a fixture without its config.json.
void CopyWithoutConfig(const std::string& fixture, const std::filesystem::path& folder) {
  std::filesystem::copy(
      tests::Fixture(fixture), folder,
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(folder / "config.json");
}

TEST_CASE("Megatron's own arguments are enough") {
  for (const auto& [fixture, source] :
       {std::pair("formats/megatron_llama_tp2", "checkpoints/llama_small"),
        std::pair("formats/megatron_core_llama_gqa_tp2", "checkpoints/llama_gqa_plain")}) {
    tests::TempDir folder;
    CopyWithoutConfig(fixture, folder.path());
    const auto checkpoint = Checkpoint::Open(folder.path());
    INFO(checkpoint.status().ToString());
    REQUIRE(checkpoint.ok());
    CheckSameSpec((*checkpoint)->spec(), Open(source)->spec());
  }
}

TEST_CASE("a Megatron model that no family is, is refused by what it has") {
  const absl::Status status =
      ConfigOfMegatron({{"normalization", "LayerNorm"}, {"swiglu", false}}, "x.pt").status();
  INFO(status.ToString());
  CHECK(absl::IsUnimplemented(status));
  CHECK(status.message().find("SwiGLU") != std::string::npos);
}

TEST_CASE("a GGUF architecture that is not read is refused with the list of those that are") {
  const nlohmann::json metadata = {{"general.architecture", "olmo2"}, {"olmo2.expert_count", 8}};
  const absl::Status status = ConfigOfGguf({.metadata = metadata}, "x.gguf").status();
  INFO(status.ToString());
  CHECK(absl::IsUnimplemented(status));
  CHECK(status.message().find("'olmo2' with experts is not supported") != std::string::npos);
  CHECK(status.message().find("llama, llama with experts, qwen2,") != std::string::npos);
}

TEST_CASE("a GGUF rope of a part of each head is refused") {
  const nlohmann::json metadata = {{"general.architecture", "phi3"},
                                   {"phi3.embedding_length", 32},
                                   {"phi3.attention.head_count", 4},
                                   {"phi3.rope.dimension_count", 6}};
  CHECK(absl::IsUnimplemented(ConfigOfGguf({.metadata = metadata}, "x.gguf").status()));
}

TEST_CASE("a format can be forced, and an unknown one is refused with the list") {
  const auto folder = tests::Fixture("formats/pytorch_bin");
  CHECK(Checkpoint::Open(folder, {.format = "pytorch"}).ok());
  CHECK(absl::IsNotFound(Checkpoint::Open(folder, {.format = "npz"}).status()));
  const absl::Status status = Checkpoint::Open(folder, {.format = "onnx"}).status();
  CHECK(absl::IsInvalidArgument(status));
  CHECK(status.message().find("safetensors, gguf") != std::string::npos);
}

TEST_CASE("names of T5X's and MaxText's own models are refused with what to do") {
  tests::TempDir folder;
  std::filesystem::copy(tests::Fixture("formats/orbax_zarr3_llama"), folder.path(),
                        std::filesystem::copy_options::recursive);
  std::filesystem::rename(folder.path() / "default/params.lm_head.kernel",
                          folder.path() / "default/params.params.decoder.logits_dense.kernel");
  const absl::Status status = Checkpoint::Open(folder.path()).status();
  INFO(status.ToString());
  CHECK(absl::IsUnimplemented(status));
  CHECK(status.message().find("MaxText") != std::string::npos);
  CHECK(status.message().find("convert it") != std::string::npos);
}

TEST_CASE("a chunk of a shard that is missing is noticed") {
  tests::TempDir folder;
  std::filesystem::copy(tests::Fixture("formats/orbax_zarr3_llama"), folder.path(),
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove(folder.path() / "default/params.lm_head.kernel/c/1/0");
  CHECK(absl::IsDataLoss(Checkpoint::Open(folder.path()).status()));
}

TEST_CASE("a part of a Megatron or Meta checkpoint that is missing is noticed") {
  tests::TempDir megatron;
  CopyWithoutConfig("formats/megatron_llama_tp2", megatron.path());
  std::filesystem::remove_all(megatron.path() / "iter_0000010" / "mp_rank_01");
  CHECK(absl::IsFailedPrecondition(Checkpoint::Open(megatron.path()).status()));
  tests::TempDir meta;
  CopyWithoutConfig("formats/meta_llama_mp2", meta.path());
  std::filesystem::remove(meta.path() / "consolidated.01.pth");
  CHECK(absl::IsFailedPrecondition(Checkpoint::Open(meta.path()).status()));
  tests::TempDir zero;
  std::filesystem::copy(
      tests::Fixture("formats/deepspeed_zero3"), zero.path(),
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(zero.path() / "global_step10" /
                          "zero_pp_rank_1_mp_rank_00_optim_states.pt");
  CHECK(absl::IsFailedPrecondition(Checkpoint::Open(zero.path()).status()));
}

}  // namespace
}  // namespace tessera::shard_loader
