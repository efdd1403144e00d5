#include "tests/unit/shard_loader_slices/writers.h"

#include <fstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/unit/shard_loader_format/zip_builder.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

void WriteFile(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string Halves(int64_t elements) { return std::string(static_cast<size_t>(elements) * 2, '1'); }

void PutText(std::string* out, const std::string& text) {
  Put<uint64_t>(out, text.size());
  *out += text;
}

std::string GgufName(const std::string& name) {
  return absl::StrReplaceAll(name, {{"model.layers.", "blk."},
                                    {"self_attn.q_proj", "attn_q"},
                                    {"self_attn.k_proj", "attn_k"},
                                    {"self_attn.v_proj", "attn_v"},
                                    {"self_attn.o_proj", "attn_output"},
                                    {"input_layernorm", "attn_norm"},
                                    {"post_attention_layernorm", "ffn_norm"},
                                    {"mlp.gate_proj", "ffn_gate"},
                                    {"mlp.up_proj", "ffn_up"},
                                    {"mlp.down_proj", "ffn_down"},
                                    {"model.embed_tokens", "token_embd"},
                                    {"model.norm", "output_norm"},
                                    {"lm_head", "output"}});
}

// `matrix_type` by GGML's numbers: 1 is f16, 8 is Q8_0.
void WriteGguf(const ModelSize& size, const fs::path& folder, uint32_t matrix_type) {
  const std::vector<ModelTensor> tensors = TensorsOf(size);
  std::string out = "GGUF";
  Put<uint32_t>(&out, 3);
  Put<uint64_t>(&out, tensors.size());
  Put<uint64_t>(&out, 8);
  PutText(&out, "general.architecture");
  Put<uint32_t>(&out, 8);
  PutText(&out, "llama");
  const std::pair<const char*, int64_t> numbers[] = {
      {"llama.block_count", size.layers},
      {"llama.embedding_length", size.hidden},
      {"llama.feed_forward_length", size.columns},
      {"llama.attention.head_count", size.heads},
      {"llama.attention.head_count_kv", size.kv_heads},
      {"llama.context_length", 512}};
  for (const auto& [key, value] : numbers) {
    PutText(&out, key);
    Put<uint32_t>(&out, 4);
    Put<uint32_t>(&out, static_cast<uint32_t>(value));
  }
  PutText(&out, "llama.attention.layer_norm_rms_epsilon");
  Put<uint32_t>(&out, 6);
  Put<float>(&out, 1e-5f);
  uint64_t offset = 0;
  std::string data;
  for (const ModelTensor& tensor : tensors) {
    const bool is_matrix = tensor.shape.size() > 1;
    const uint32_t type = is_matrix ? matrix_type : 1;
    const int64_t bytes = type == 8 ? tensor.elements() / 32 * 34 : tensor.elements() * 2;
    PutText(&out, GgufName(tensor.name));
    Put<uint32_t>(&out, static_cast<uint32_t>(tensor.shape.size()));
    for (auto it = tensor.shape.rbegin(); it != tensor.shape.rend(); ++it) {
      Put<uint64_t>(&out, static_cast<uint64_t>(*it));
    }
    Put<uint32_t>(&out, type);
    Put<uint64_t>(&out, offset);
    data.append(static_cast<size_t>(bytes), '1');
    data.resize((data.size() + 31) / 32 * 32);
    offset = data.size();
  }
  out.resize((out.size() + 31) / 32 * 32);
  WriteFile(folder / "model.gguf", out + data);
}

std::string NpyRecord(const ModelTensor& tensor) {
  std::string shape = absl::StrCat("(", tensor.shape[0], ",");
  if (tensor.shape.size() > 1) absl::StrAppend(&shape, " ", tensor.shape[1]);
  std::string header =
      absl::StrCat("{'descr': '<f2', 'fortran_order': False, 'shape': ", shape, "), }");
  header.resize(117, ' ');
  header += '\n';
  std::string record = "\x93NUMPY\x01";
  record += '\0';
  Put<uint16_t>(&record, static_cast<uint16_t>(header.size()));
  return record + header + Halves(tensor.elements());
}

// Flax's kernels are [inputs, outputs]; `shape` is turned so.
std::string FlaxName(const ModelTensor& tensor, std::vector<int64_t>* shape) {
  std::string name = tensor.name;
  *shape = tensor.shape;
  if (absl::StrContains(name, "embed_tokens")) {
    name.replace(name.size() - 6, 6, "embedding");
  } else if (shape->size() > 1) {
    name.replace(name.size() - 6, 6, "kernel");
    std::swap((*shape)[0], (*shape)[1]);
  }
  return name;
}

template <typename T>
void PutBigEndian(std::string* out, T value) {
  for (int shift = 8 * (sizeof(T) - 1); shift >= 0; shift -= 8) {
    *out += static_cast<char>(value >> shift & 0xff);
  }
}

void PutShortText(std::string* out, const std::string& text) {
  *out += '\xd9';
  PutBigEndian<uint8_t>(out, static_cast<uint8_t>(text.size()));
  *out += text;
}

}  // namespace

std::vector<ModelTensor> TensorsOf(const ModelSize& size) {
  const int64_t keys = size.hidden / size.heads * size.kv_heads;
  std::vector<ModelTensor> tensors = {
      {"model.embed_tokens.weight", {size.vocab, size.hidden}},
      {"model.norm.weight", {size.hidden}},
      {"lm_head.weight", {size.vocab, size.hidden}},
  };
  for (int64_t layer = 0; layer < size.layers; ++layer) {
    const std::string base = absl::StrCat("model.layers.", layer, ".");
    const std::pair<const char*, std::vector<int64_t>> weights[] = {
        {"input_layernorm", {size.hidden}},
        {"post_attention_layernorm", {size.hidden}},
        {"self_attn.q_proj", {size.hidden, size.hidden}},
        {"self_attn.k_proj", {keys, size.hidden}},
        {"self_attn.v_proj", {keys, size.hidden}},
        {"self_attn.o_proj", {size.hidden, size.hidden}},
        {"mlp.gate_proj", {size.columns, size.hidden}},
        {"mlp.up_proj", {size.columns, size.hidden}},
        {"mlp.down_proj", {size.hidden, size.columns}}};
    for (const auto& [name, shape] : weights) tensors.push_back({base + name + ".weight", shape});
  }
  return tensors;
}

void WriteConfig(const ModelSize& size, const fs::path& folder) {
  const nlohmann::json config = {{"architectures", {"LlamaForCausalLM"}},
                                 {"model_type", "llama"},
                                 {"hidden_size", size.hidden},
                                 {"intermediate_size", size.columns},
                                 {"num_hidden_layers", size.layers},
                                 {"num_attention_heads", size.heads},
                                 {"num_key_value_heads", size.kv_heads},
                                 {"vocab_size", size.vocab},
                                 {"max_position_embeddings", 512},
                                 {"rms_norm_eps", 1e-5}};
  WriteFile(folder / "config.json", config.dump());
}

void WriteSafetensorsModel(const ModelSize& size, const fs::path& folder) {
  WriteConfig(size, folder);
  nlohmann::json header;
  std::string data;
  for (const ModelTensor& tensor : TensorsOf(size)) {
    const size_t begin = data.size();
    data += Halves(tensor.elements());
    header[tensor.name] = {
        {"dtype", "F16"}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  std::string out;
  PutText(&out, header.dump());
  WriteFile(folder / "model.safetensors", out + data);
}

void WriteNpzModel(const ModelSize& size, const fs::path& folder) {
  WriteConfig(size, folder);
  std::vector<std::pair<std::string, std::string>> records;
  for (const ModelTensor& tensor : TensorsOf(size)) {
    records.emplace_back(tensor.name + ".npy", NpyRecord(tensor));
  }
  WriteFile(folder / "model.npz", MakeZip(records));
}

void WriteGgufModel(const ModelSize& size, const fs::path& folder) { WriteGguf(size, folder, 1); }
void WriteGgufQ8Model(const ModelSize& size, const fs::path& folder) { WriteGguf(size, folder, 8); }

void WriteFlaxModel(const ModelSize& size, const fs::path& folder) {
  WriteConfig(size, folder);
  const std::vector<ModelTensor> tensors = TensorsOf(size);
  std::string out = "\xde";
  PutBigEndian<uint16_t>(&out, static_cast<uint16_t>(tensors.size()));
  for (const ModelTensor& tensor : tensors) {
    std::vector<int64_t> shape;
    PutShortText(&out, FlaxName(tensor, &shape));
    std::string head = "\x93";
    head += static_cast<char>(0x90 + shape.size());
    for (const int64_t dimension : shape) {
      head += '\xce';
      PutBigEndian<uint32_t>(&head, static_cast<uint32_t>(dimension));
    }
    PutShortText(&head, "float16");
    head += '\xc6';
    const auto bytes = static_cast<uint32_t>(tensor.elements() * 2);
    PutBigEndian<uint32_t>(&head, bytes);
    out += '\xc9';
    PutBigEndian<uint32_t>(&out, static_cast<uint32_t>(head.size()) + bytes);
    out += '\x01';
    out += head + Halves(tensor.elements());
  }
  WriteFile(folder / "flax_model.msgpack", out);
}

void WriteOrbaxModel(const ModelSize& size, const fs::path& folder) {
  WriteConfig(size, folder);
  for (const ModelTensor& tensor : TensorsOf(size)) {
    std::vector<int64_t> shape;
    const std::string name = FlaxName(tensor, &shape);
    std::vector<int64_t> chunks = shape;
    chunks[0] = (shape[0] + 1) / 2;
    const nlohmann::json metadata = {
        {"zarr_format", 2}, {"shape", shape},        {"chunks", chunks},   {"dtype", "<f2"},
        {"order", "C"},     {"compressor", nullptr}, {"filters", nullptr}, {"fill_value", nullptr}};
    const fs::path array = folder / ("params." + name);
    WriteFile(array / ".zarray", metadata.dump());
    const int64_t columns = shape.size() > 1 ? shape[1] : 1;
    for (const char* chunk : {"0", "1"}) {
      WriteFile(array / (shape.size() > 1 ? std::string(chunk) + ".0" : chunk),
                Halves(chunks[0] * columns));
    }
  }
}

}  // namespace tessera::shard_loader
