#include "tests/bench/loading/bench_model.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "shard_loader/io/file_writer.h"
#include "shard_loader/status_macros.h"

namespace tessera {
namespace {

using nlohmann::json;
using shard_loader::FileWriter;

constexpr int64_t kHidden = 2048;
constexpr int64_t kColumns = 8192;
constexpr int64_t kKeys = 512;
constexpr int64_t kVocab = 128256;

using Tensors = std::vector<std::pair<std::string, std::vector<int64_t>>>;

Tensors TensorsOf(int layers) {
  Tensors tensors = {{"model.embed_tokens.weight", {kVocab, kHidden}}};
  for (int layer = 0; layer < layers; ++layer) {
    const std::string base = absl::StrCat("model.layers.", layer, ".");
    tensors.push_back({base + "input_layernorm.weight", {kHidden}});
    tensors.push_back({base + "self_attn.q_proj.weight", {kHidden, kHidden}});
    tensors.push_back({base + "self_attn.k_proj.weight", {kKeys, kHidden}});
    tensors.push_back({base + "self_attn.v_proj.weight", {kKeys, kHidden}});
    tensors.push_back({base + "self_attn.o_proj.weight", {kHidden, kHidden}});
    tensors.push_back({base + "post_attention_layernorm.weight", {kHidden}});
    tensors.push_back({base + "mlp.gate_proj.weight", {kColumns, kHidden}});
    tensors.push_back({base + "mlp.up_proj.weight", {kColumns, kHidden}});
    tensors.push_back({base + "mlp.down_proj.weight", {kHidden, kColumns}});
  }
  tensors.push_back({"model.norm.weight", {kHidden}});
  return tensors;
}

absl::Status WriteText(const std::filesystem::path& path, const std::string& text) {
  ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(path));
  RETURN_IF_ERROR(writer.Write(text));
  return writer.Finish();
}

absl::Status WriteWeights(const std::filesystem::path& path, int layers) {
  json header;
  uint64_t offset = 0;
  for (const auto& [name, shape] : TensorsOf(layers)) {
    const uint64_t bytes = 2 * static_cast<uint64_t>(shape[0] * (shape.size() > 1 ? shape[1] : 1));
    header[name] = {
        {"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(path));
  RETURN_IF_ERROR(writer.Write({reinterpret_cast<const char*>(&length), sizeof(length)}));
  RETURN_IF_ERROR(writer.Write(text));
  std::string block(8 << 20, '\0');
  uint32_t state = 1;
  for (size_t i = 0; i < block.size(); i += 2) {
    state = state * 1664525 + 1013904223;
    const auto small = static_cast<uint16_t>(0x3c00 | (state >> 16 & 0x80ff));  // about 0.01
    std::memcpy(block.data() + i, &small, sizeof(small));
  }
  for (uint64_t done = 0; done < offset; done += block.size()) {
    const uint64_t part = std::min<uint64_t>(block.size(), offset - done);
    RETURN_IF_ERROR(writer.Write(std::string_view(block.data(), part)));
  }
  return writer.Finish();
}

}  // namespace

absl::Status MakeBenchModel(const std::filesystem::path& folder, int layers) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (std::filesystem::exists(folder / "config.json", error)) return absl::OkStatus();
  RETURN_IF_ERROR(WriteWeights(folder / "model.safetensors", layers));
  const json config = {{"architectures", {"LlamaForCausalLM"}},
                       {"model_type", "llama"},
                       {"hidden_size", kHidden},
                       {"intermediate_size", kColumns},
                       {"num_hidden_layers", layers},
                       {"num_attention_heads", 32},
                       {"num_key_value_heads", 8},
                       {"vocab_size", kVocab},
                       {"max_position_embeddings", 8192},
                       {"tie_word_embeddings", true},
                       {"rms_norm_eps", 1e-5}};
  return WriteText(folder / "config.json", config.dump(2));
}

}  // namespace tessera
