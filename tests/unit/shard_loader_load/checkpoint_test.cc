#include "shard_loader/load/checkpoint.h"

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "shard_loader/model/tensors.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;

std::unique_ptr<Checkpoint> OpenFixture(const std::string& name) {
  auto checkpoint = Checkpoint::Open(tests::Fixture("checkpoints/" + name));
  INFO(checkpoint.status().ToString());
  REQUIRE(checkpoint.ok());
  return *std::move(checkpoint);
}

void CopyFixture(const std::string& name, const fs::path& to) {
  fs::copy(tests::Fixture("checkpoints/" + name), to);
}

void EditConfig(const fs::path& folder, const std::string& key, const nlohmann::json& value) {
  nlohmann::json config = tests::ReadJson(folder / "config.json");
  config[key] = value;
  std::ofstream(folder / "config.json") << config.dump();
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST_CASE("every checkpoint of the fixtures opens, with all tensors of its spec") {
  for (const auto& entry : fs::directory_iterator(tests::Fixture("checkpoints"))) {
    const auto checkpoint = OpenFixture(entry.path().filename().string());
    CHECK(checkpoint->tensors().size() == ModelTensors(checkpoint->spec()).size());
    // GPT-2's original files hold the causal mask of every layer.
    CHECK(checkpoint->ignored().size() == (checkpoint->spec().family == "gpt2" ? 2 : 0));
    uint64_t bytes = 0;
    for (TensorId id : ModelTensors(checkpoint->spec())) {
      const StoredTensor* tensor = checkpoint->Find(id);
      REQUIRE(tensor != nullptr);
      CHECK(tensor->id == id);
      bytes += tensor->bytes();
    }
    CHECK(bytes == checkpoint->total_bytes());
    CHECK(checkpoint->num_parameters() * DTypeSize(checkpoint->dtype()) == bytes);
  }
}

TEST_CASE("a sharded checkpoint is opened by its index") {
  const auto checkpoint = OpenFixture("llama3_gqa");
  CHECK(checkpoint->files().size() == 4);
  CHECK(checkpoint->num_parameters() == 262720);
  CHECK(checkpoint->total_bytes() == 1050880);
  CHECK(checkpoint->dtype() == DType::kF32);
  CHECK(checkpoint->stop_token_ids() == std::vector<int64_t>{505, 509, 510});
  CHECK(checkpoint->generation().temperature == 0.6);
  CHECK(checkpoint->generation().top_p == 0.9);
}

TEST_CASE("the stored dtype is that of the weights") {
  CHECK(OpenFixture("mistral")->dtype() == DType::kF16);
  CHECK(OpenFixture("qwen3")->dtype() == DType::kBF16);
}

TEST_CASE("stop ids join those of config.json and generation_config.json") {
  CHECK(OpenFixture("qwen2")->stop_token_ids() == std::vector<int64_t>{505, 507});
}

TEST_CASE("the weights version is equal for copies and differs for other weights or configs") {
  tests::TempDir copy;
  CopyFixture("llama_small", copy.path());
  const std::string version = OpenFixture("llama_small")->weights_version();
  CHECK(version.size() == 32);
  CHECK(Checkpoint::Open(copy.path()).value()->weights_version() == version);
  CHECK(OpenFixture("llama_mqa_tied")->weights_version() != version);

  std::fstream weights(copy.path() / "model.safetensors",
                       std::ios::binary | std::ios::in | std::ios::out);
  weights.seekp(-1, std::ios::end);
  weights.put('\x7f');
  weights.close();
  const std::string changed = Checkpoint::Open(copy.path()).value()->weights_version();
  CHECK(changed != version);
  EditConfig(copy.path(), "rope_theta", 20000.0);
  CHECK(Checkpoint::Open(copy.path()).value()->weights_version() != changed);
}

TEST_CASE("a folder that is not there is not found, and a hub name gets a hint") {
  const auto missing = Checkpoint::Open("/nonexistent/model").status();
  CHECK(missing.code() == absl::StatusCode::kNotFound);
  CHECK_THAT(Message(missing), Contains("/nonexistent/model") && !Contains("hf download"));
  const auto hub = Checkpoint::Open("some-org/Some-Model-1.5B").status();
  CHECK(hub.code() == absl::StatusCode::kNotFound);
  CHECK_THAT(Message(hub), Contains("hf download some-org/Some-Model-1.5B --local-dir DIR"));
}

TEST_CASE("a folder without config.json or without weights is not found") {
  tests::TempDir folder;
  CHECK_THAT(Message(Checkpoint::Open(folder.path()).status()), Contains("no config.json"));
  fs::copy_file(tests::Fixture("checkpoints/llama_small/config.json"),
                folder.path() / "config.json");
  const auto status = Checkpoint::Open(folder.path()).status();
  CHECK(status.code() == absl::StatusCode::kNotFound);
  CHECK_THAT(Message(status), Contains("neither model.safetensors nor"));
  std::ofstream(folder.path() / "pytorch_model.bin") << "x";
  CHECK(Checkpoint::Open(folder.path()).status().code() == absl::StatusCode::kDataLoss);
  CHECK(Checkpoint::Open(folder.path() / "config.json").status().code() ==
        absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("half a checkpoint names the file that is missing") {
  tests::TempDir folder;
  CopyFixture("llama3_gqa", folder.path());
  fs::remove(folder.path() / "model-00003-of-00004.safetensors");
  const auto status = Checkpoint::Open(folder.path()).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(Message(status),
             Contains("model-00003-of-00004.safetensors") && Contains("incomplete"));
}

TEST_CASE("a tensor that the spec needs and nobody holds is named") {
  tests::TempDir folder;
  CopyFixture("llama_small", folder.path());
  EditConfig(folder.path(), "num_hidden_layers", 5);
  const auto status = Checkpoint::Open(folder.path()).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(Message(status), Contains("model.layers.4.input_layernorm.weight"));
}

TEST_CASE("a weight that config.json leaves out is refused, not ignored") {
  tests::TempDir folder;
  CopyFixture("qwen2", folder.path());
  EditConfig(folder.path(), "model_type", "llama");
  EditConfig(folder.path(), "architectures", {"LlamaForCausalLM"});
  const auto status = Checkpoint::Open(folder.path()).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(Message(status), Contains("k_proj.bias") && Contains("without it"));
}

TEST_CASE("a head beside tied embeddings and layers above the last are ignored and listed") {
  tests::TempDir folder;
  CopyFixture("llama_small", folder.path());
  EditConfig(folder.path(), "tie_word_embeddings", true);
  EditConfig(folder.path(), "num_hidden_layers", 3);
  const auto checkpoint = Checkpoint::Open(folder.path()).value();
  CHECK(checkpoint->ignored().size() == 10);
  CHECK(checkpoint->ignored()[0] == "lm_head.weight");
  CHECK(checkpoint->Find({-1, TensorRole::kHead}) == nullptr);
}

TEST_CASE("weights behind symbolic links open, as the hub's cache keeps them") {
  tests::TempDir folder;
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::create_symlink(tests::Fixture("checkpoints/llama_small") / name, folder.path() / name);
  }
  CHECK(Checkpoint::Open(folder.path()).ok());
}

}  // namespace
}  // namespace tessera::shard_loader
