#include "shard_loader/load/support.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/model/families.h"

namespace tessera::shard_loader {
namespace {

// Where a format has names of its own, the families that these are known for; all others carry
// Hugging Face's names, and with them every family.
struct OwnNames {
  const char* format;
  std::array<std::string_view, 10> families;
};

constexpr OwnNames kOwnNames[] = {
    {"gguf",
     {"llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "olmo2", "granite",
      "phi3"}},
    {"meta", {"llama"}},
    {"megatron", {"llama", "qwen2", "qwen3", "gpt2"}},
};

// What a test shows, and whose program wrote the files.
struct Shown {
  const char* format;
  const char* family;
  bool independent;
  const char* writer;
};

constexpr Shown kShown[] = {
    {"gguf", "llama", true, "the gguf package; its dequantisation, K-quants on random blocks"},
    {"gguf", "mixtral", true, "the gguf package"},
    {"gguf", "qwen2_moe", true, "the gguf package"},
    {"gguf", "qwen3_moe", true, "the gguf package"},
    {"gguf", "olmo2", true, "the gguf package"},
    {"gguf", "granite", true, "the gguf package"},
    {"gguf", "phi3", true, "the gguf package"},
    {"meta", "llama", true, "fixtures in Meta's layout, by PyTorch"},
    {"megatron", "llama", true,
     "fixtures in Megatron-LM's layouts, by PyTorch; torch_dist by Megatron-Core"},
    {"deepspeed", "llama", true, "fixtures in DeepSpeed's layouts, by PyTorch"},
    {"deepspeed_universal", "llama", false, "our script after ds_to_universal.py"},
    {"torch_dist", "llama", true, "torch.distributed.checkpoint"},
    {"pytorch", "llama", true, "PyTorch"},
    {"flax", "llama", true, "Flax"},
    {"keras", "gpt2", true, "Keras"},
    {"tensorflow", "llama", true, "TensorFlow"},
    {"t5x", "llama", false, "our script after t5x/checkpoints.py, by TensorStore and Flax"},
    {"orbax", "llama", true, "Orbax"},
    {"npz", "llama", true, "numpy"},
    {"tessera", "llama", false, "tessera convert"},
    {"tessera", "qwen2", false, "tessera convert"},
};

bool Carries(std::string_view format, std::string_view family) {
  for (const OwnNames& own : kOwnNames) {
    if (format != own.format) continue;
    return std::find(own.families.begin(), own.families.end(), family) != own.families.end();
  }
  return true;
}

// Every family has a golden checkpoint in safetensors.
const char* MarkOf(std::string_view format, std::string_view family) {
  if (format == "safetensors") return "yes";
  if (!Carries(format, family)) return "";
  for (const Shown& shown : kShown) {
    if (format == shown.format && family == shown.family) return shown.independent ? "yes" : "own";
  }
  return "(yes)";
}

std::string FamilyTable() {
  std::string text = "| family | architectures in config.json | covers |\n|---|---|---|\n";
  for (const Family* family : Families()) {
    absl::StrAppend(&text, "| ", family->name, " | ", absl::StrJoin(family->architectures, ", "),
                    " | ", family->covers, " |\n");
  }
  return text;
}

std::string FormatTable() {
  std::string text = "| format | covers | files of the tests were written by |\n|---|---|---|\n";
  for (const CheckpointFormat* format : CheckpointFormats()) {
    std::string writers;
    for (const Shown& shown : kShown) {
      const bool is_new = writers.find(shown.writer) == writers.npos;
      if (std::string_view(format->name) != shown.format || !is_new) continue;
      absl::StrAppend(&writers, writers.empty() ? "" : "; ", shown.writer);
    }
    if (writers.empty()) writers = "transformers";
    absl::StrAppend(&text, "| ", format->name, " | ", format->covers, " | ", writers, " |\n");
  }
  return text;
}

std::string Matrix() {
  std::string text = "| |";
  for (const CheckpointFormat* format : CheckpointFormats()) {
    absl::StrAppend(&text, " ", format->name, " |");
  }
  absl::StrAppend(&text, "\n|---|");
  for (size_t i = 0; i < CheckpointFormats().size(); ++i) absl::StrAppend(&text, "---|");
  absl::StrAppend(&text, "\n");
  for (const Family* family : Families()) {
    absl::StrAppend(&text, "| ", family->name, " |");
    for (const CheckpointFormat* format : CheckpointFormats()) {
      absl::StrAppend(&text, " ", MarkOf(format->name, family->name), " |");
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace

std::string SupportMarkdown() {
  return absl::StrCat(
      "# What can be opened\n\n"
      "This page is written by `support_table` from the tables in `model/` and `load/`; a test "
      "compares.\nAnything else is refused by name with UNIMPLEMENTED.\n\n"
      "## Families\n\n",
      FamilyTable(),
      "\n## Formats\n\nThe first one that a folder holds is read; `--format` forces another.\n\n",
      FormatTable(),
      "\n## Families by formats\n\n"
      "yes: a test reads files that a program other than ours wrote. own: a test reads files that "
      "our script wrote after\nthe format's source. (yes): the format carries Hugging Face's "
      "names, "
      "so that the family opens by the same tables,\nbut no file of this pair was read. Empty: "
      "refused.\n\n",
      Matrix(),
      "\n## Layouts\n\n"
      "Every pair above is cut for any `--tp` up to the lanes (degrees need not divide, KV heads "
      "are repeated where they are\nfewer) and any `--pp` up to the layers, whatever degrees it "
      "was "
      "trained or cut on; the tests of formats run tp 1, 2, 3\nand 4 with pp 1 and 2. A rank reads "
      "its own bytes alone, but whole chunks where they are compressed (keras, t5x, orbax,\n"
      "deflated npz), and a quantised block that a border cuts twice.\n\n"
      "Quantised blocks of GGUF files become fp32 with `--dtype auto`, exactly. `--dtype int8` "
      "(Q8_0, Q4_0) and `--dtype int4`\n(Q4_0, Q4_1) hold them as the integers and scales that "
      "they are; "
      "embeddings, heads and others that are stored otherwise\nare quantised. Where matrices whose "
      "columns ranks share are stored otherwise, all are quantised anew.\n\n"
      "A folder without tokenizer files needs some beside its weights to be served; a GGUF file "
      "carries its own.\n");
}

}  // namespace tessera::shard_loader
