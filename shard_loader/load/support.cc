#include "shard_loader/load/support.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/model/families.h"

namespace tessera::shard_loader {

std::string SupportMarkdown() {
  std::string text =
      "# What can be opened\n\n"
      "This page is written by `support_table` from the tables in `model/` and `load/`; a test "
      "compares.\nAnything else is refused by name with UNIMPLEMENTED.\n\n"
      "## Families\n\n"
      "| family | architectures in config.json | covers |\n|---|---|---|\n";
  for (const Family* family : Families()) {
    absl::StrAppend(&text, "| ", family->name, " | ", absl::StrJoin(family->architectures, ", "),
                    " | ", family->covers, " |\n");
  }
  absl::StrAppend(&text,
                  "\n## Formats\n\nThe first one that a folder holds is read.\n\n"
                  "| format | covers |\n|---|---|\n");
  for (const CheckpointFormat* format : CheckpointFormats()) {
    absl::StrAppend(&text, "| ", format->name, " | ", format->covers, " |\n");
  }
  absl::StrAppend(
      &text,
      "\nEvery family is shown from safetensors; from the other formats files of llama "
      "models are. A folder without\n`tokenizer.json` (GGUF, Megatron-LM, npz...) needs "
      "one beside its weights to be served.\n");
  return text;
}

}  // namespace tessera::shard_loader
