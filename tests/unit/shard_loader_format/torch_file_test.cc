#include "shard_loader/format/torch_file.h"

#include <catch2/catch.hpp>

#include "tests/support/fixtures.h"
#include "tests/unit/shard_loader_format/zip_builder.h"

namespace tessera::shard_loader {
namespace {

using namespace std::string_literals;

// {'w': tensor of shape [2, 3] over storage 0 with its 6 floats, column-major}
std::string StateDict() {
  return "\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00"s +
         "storagectorch\nFloatStorage\nX\x01\x00\x00\x00"s + "0X\x03\x00\x00\x00"s +
         "cpuK\x06tQK\x00K\x02K\x03\x86K\x01K\x02\x86tRs."s;
}

absl::StatusOr<std::unique_ptr<TorchFile>> Read(const std::string& bytes) {
  return TorchFile::Read(MemorySource("w.bin", bytes));
}

TEST_CASE("a zip container's tensors lie in its data records") {
  const std::string data(24, 'd');
  const std::string zip = MakeZip({{"x/data.pkl", StateDict()},
                                   {"x/byteorder", "little"},
                                   {"x/data/0", data},
                                   {"x/version", "3\n"}});
  const auto file = Read(zip);
  INFO(file.status().ToString());
  REQUIRE(file.ok());
  const IndexedTensor* tensor = (*file)->index().Find("w");
  REQUIRE(tensor != nullptr);
  CHECK(tensor->type == StoredType::kF32);
  CHECK(tensor->shape == std::vector<int64_t>{2, 3});
  CHECK(tensor->strides == std::vector<int64_t>{1, 2});
  CHECK(tensor->data.offset == zip.find(data));
  CHECK(tensor->data.bytes == 24);
}

TEST_CASE("a storage that is missing, short, compressed or big-endian is refused") {
  const std::string pickle = StateDict();
  CHECK(absl::IsDataLoss(Read(MakeZip({{"x/data.pkl", pickle}})).status()));
  CHECK(absl::IsDataLoss(
      Read(MakeZip({{"x/data.pkl", pickle}, {"x/data/0", std::string(23, 'd')}})).status()));
  CHECK(absl::IsDataLoss(
      Read(MakeZip({{"x/data.pkl", pickle}, {"y/data/0", std::string(24, 'd')}})).status()));
  CHECK(absl::IsUnimplemented(Read(MakeZip({{"x/data.pkl", pickle},
                                            {"x/byteorder", "big"},
                                            {"x/data/0", std::string(24, 'd')}}))
                                  .status()));
  CHECK(absl::IsDataLoss(Read(MakeZip({{"weights.txt", "hello"}})).status()));
  CHECK(absl::IsDataLoss(Read("hello").status()));
  CHECK(absl::IsDataLoss(Read("").status()));
}

TEST_CASE("the container before PyTorch 1.6 keeps its storages behind the pickles") {
  const std::string magic = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19."s;
  const std::string header =
      magic + "\x80\x02M\xe9\x03."s + "}X\x0d\x00\x00\x00little_endian\x88s."s;
  const std::string keys = "\x80\x02]X\x01\x00\x00\x00"s + "0a."s;
  std::string bytes = header + StateDict() + keys;
  Put<int64_t>(&bytes, 6);
  const size_t data = bytes.size();
  bytes.append(24, 'd');
  const auto file = Read(bytes);
  INFO(file.status().ToString());
  REQUIRE(file.ok());
  REQUIRE((*file)->index().Find("w") != nullptr);
  CHECK((*file)->index().Find("w")->data.offset == data);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(Read(bytes.substr(0, size)).ok());
  }
}

TEST_CASE("names are paths through dicts and lists, and other values stay readable") {
  const std::string bytes = tests::ReadFile(
      tests::Fixture("formats/megatron_llama_tp2/iter_0000010/mp_rank_00/model_optim_rng.pt"));
  const auto file = Read(bytes);
  INFO(file.status().ToString());
  REQUIRE(file.ok());
  const Pickle& pickle = (*file)->pickle();
  const PickleValue* args = pickle.Find(pickle.root(), "args");
  REQUIRE(args != nullptr);
  CHECK(pickle.Attribute(*args, "num_layers")->integer == 4);
  CHECK(pickle.Attribute(*args, "params_dtype")->text == "torch.float32");
  CHECK((*file)->index().Find("model.language_model.embedding.word_embeddings.weight") != nullptr);
}

TEST_CASE("files as PyTorch and its frameworks write them are read") {
  const auto count = [](const std::string& path) {
    const std::string bytes = tests::ReadFile(tests::Fixture("formats/" + path));
    const auto file = Read(bytes);
    INFO(path << ": " << file.status().ToString());
    REQUIRE(file.ok());
    return (*file)->index().tensors().size();
  };
  CHECK(count("pytorch_bin/pytorch_model.bin") == 39);
  CHECK(count("pytorch_bin_legacy/pytorch_model.bin") == 39);
  CHECK(count("pytorch_bin_views/pytorch_model.bin") == 40);
  CHECK(count("meta_llama_mp2/consolidated.00.pth") > 0);
  CHECK(count("megatron_core_llama_gqa_tp2/iter_0000010/mp_rank_00/model_optim_rng.pt") > 0);
  CHECK(count("megatron_gpt_tp2_pp2/iter_0000010/mp_rank_00_000/model_optim_rng.pt") > 0);
  CHECK(count("deepspeed/global_step10/mp_rank_00_model_states.pt") > 0);
  CHECK(count("deepspeed_zero3/global_step10/zero_pp_rank_0_mp_rank_00_optim_states.pt") > 0);
}

}  // namespace
}  // namespace tessera::shard_loader
