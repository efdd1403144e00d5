// The model in the layouts of trainers that write PyTorch's files.
#include <algorithm>
#include <fstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/unit/shard_loader_slices/torch_archive.h"
#include "tests/unit/shard_loader_slices/writers.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

using Replacements = std::vector<std::pair<const char*, const char*>>;

// What a name ends in, and the dimension along which ranks share the weight.
struct Cut {
  const char* suffix;
  size_t dimension;
};

void WriteText(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

std::vector<int64_t> HalfOf(const ModelTensor& tensor, const std::vector<Cut>& cuts) {
  std::vector<int64_t> shape = tensor.shape;
  for (const Cut& cut : cuts) {
    if (absl::EndsWith(tensor.name, absl::StrCat(cut.suffix, ".weight"))) shape[cut.dimension] /= 2;
  }
  return shape;
}

void AddAll(const ModelSize& size, TorchArchive* archive) {
  archive->BeginDict();
  for (const ModelTensor& tensor : TensorsOf(size)) {
    archive->Text(tensor.name);
    archive->Tensor(tensor.shape);
  }
  archive->EndDict();
}

}  // namespace

void WriteTorchModel(const ModelSize& size, const fs::path& folder) {
  WriteConfig(size, folder);
  TorchArchive archive;
  AddAll(size, &archive);
  archive.Write(folder / "pytorch_model.bin");
}

void WriteMetaModel(const ModelSize& size, const fs::path& folder) {
  const nlohmann::json params = {{"dim", size.hidden},    {"n_layers", size.layers},
                                 {"n_heads", size.heads}, {"n_kv_heads", size.kv_heads},
                                 {"norm_eps", 1e-5},      {"vocab_size", size.vocab}};
  WriteText(folder / "params.json", params.dump());
  const Replacements names = {{"model.layers.", "layers."},
                              {"self_attn.q_proj", "attention.wq"},
                              {"self_attn.k_proj", "attention.wk"},
                              {"self_attn.v_proj", "attention.wv"},
                              {"self_attn.o_proj", "attention.wo"},
                              {"input_layernorm", "attention_norm"},
                              {"post_attention_layernorm", "ffn_norm"},
                              {"mlp.gate_proj", "feed_forward.w1"},
                              {"mlp.up_proj", "feed_forward.w3"},
                              {"mlp.down_proj", "feed_forward.w2"},
                              {"model.embed_tokens", "tok_embeddings"},
                              {"model.norm", "norm"},
                              {"lm_head", "output"}};
  const std::vector<Cut> cuts = {{"embed_tokens", 1}, {"lm_head", 0},   {"q_proj", 0},
                                 {"k_proj", 0},       {"v_proj", 0},    {"o_proj", 1},
                                 {"gate_proj", 0},    {"down_proj", 1}, {"up_proj", 0}};
  for (const int rank : {0, 1}) {
    TorchArchive archive;
    archive.BeginDict();
    for (const ModelTensor& tensor : TensorsOf(size)) {
      archive.Text(absl::StrReplaceAll(tensor.name, names));
      archive.Tensor(HalfOf(tensor, cuts));
    }
    archive.EndDict();
    archive.Write(folder / absl::StrCat("consolidated.0", rank, ".pth"));
  }
}

void WriteMegatronModel(const ModelSize& size, const fs::path& folder) {
  WriteConfig(size, folder);
  WriteText(folder / "latest_checkpointed_iteration.txt", "10");
  const Replacements names = {{"model.layers.", "decoder.layers."},
                              {"self_attn.o_proj", "self_attention.linear_proj"},
                              {"post_attention_layernorm", "pre_mlp_layernorm"},
                              {"mlp.down_proj", "mlp.linear_fc2"},
                              {"model.embed_tokens", "embedding.word_embeddings"},
                              {"model.norm", "decoder.final_layernorm"},
                              {"lm_head", "output_layer"}};
  const std::vector<Cut> cuts = {
      {"embed_tokens", 0}, {"lm_head", 0}, {"o_proj", 1}, {"down_proj", 1}};
  const int64_t head = size.hidden / size.heads;
  for (const int rank : {0, 1}) {
    TorchArchive archive;
    archive.BeginDict();
    archive.Text("checkpoint_version");
    archive.Three();
    archive.Text("model");
    archive.BeginDict();
    for (const ModelTensor& tensor : TensorsOf(size)) {
      const bool fused = absl::EndsWith(tensor.name, "q_proj.weight") ||
                         absl::EndsWith(tensor.name, "k_proj.weight") ||
                         absl::EndsWith(tensor.name, "v_proj.weight") ||
                         absl::EndsWith(tensor.name, "gate_proj.weight") ||
                         absl::EndsWith(tensor.name, "up_proj.weight");
      if (fused) continue;
      archive.Text(absl::StrReplaceAll(tensor.name, names));
      archive.Tensor(HalfOf(tensor, cuts));
    }
    for (int64_t layer = 0; layer < size.layers; ++layer) {
      const std::string base = absl::StrCat("decoder.layers.", layer, ".");
      archive.Text(base + "self_attention.linear_qkv.weight");
      archive.Tensor({(size.heads + 2 * size.kv_heads) / 2 * head, size.hidden});
      archive.Text(base + "mlp.linear_fc1.weight");
      archive.Tensor({size.columns, size.hidden});  // half of gate, half of up
    }
    archive.EndDict();
    archive.EndDict();
    archive.Write(folder / absl::StrCat("iter_0000010/mp_rank_0", rank, "/model_optim_rng.pt"));
  }
}

void WriteDeepSpeedModel(const ModelSize& size, const fs::path& folder) {
  WriteConfig(size, folder);
  WriteText(folder / "latest", "global_step10");
  TorchArchive archive;
  archive.BeginDict();
  archive.Text("module");
  AddAll(size, &archive);
  archive.EndDict();
  archive.Write(folder / "global_step10/mp_rank_00_model_states.pt");
}

void WriteZero3Model(const ModelSize& size, const fs::path& folder) {
  WriteConfig(size, folder);
  WriteText(folder / "latest", "global_step10");
  TorchArchive states;
  states.BeginDict();
  states.Text("param_shapes");
  states.BeginList();
  states.BeginDict();
  int64_t each = 0;  // elements of a partition
  for (const ModelTensor& tensor : TensorsOf(size)) {
    states.Text(tensor.name);
    states.Tuple(tensor.shape);
    each += (tensor.elements() + 1) / 2;
  }
  states.EndDict();
  states.EndList();
  states.EndDict();
  states.Write(folder / "global_step10/zero_pp_rank_0_mp_rank_00_model_states.pt");
  for (const int rank : {0, 1}) {
    TorchArchive part;
    part.BeginDict();
    part.Text("optimizer_state_dict");
    part.BeginDict();
    part.Text("fp32_flat_groups");
    part.BeginList();
    part.Tensor({each}, true);
    part.EndList();
    part.EndDict();
    part.EndDict();
    part.Write(folder /
               absl::StrCat("global_step10/zero_pp_rank_", rank, "_mp_rank_00_optim_states.pt"));
  }
}

void WriteUniversalModel(const ModelSize& size, const fs::path& folder) {
  WriteConfig(size, folder);
  for (const ModelTensor& tensor : TensorsOf(size)) {
    TorchArchive archive;
    archive.BeginDict();
    archive.Text("param");
    archive.Tensor(tensor.shape, true);
    archive.EndDict();
    archive.Write(folder / "zero" / tensor.name / "fp32.pt");
  }
}

}  // namespace tessera::shard_loader
