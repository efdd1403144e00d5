#include "shard_loader/load/support.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/model/families.h"

namespace tessera::shard_loader {

const std::vector<Format>& Formats() {
  static const auto& formats = *new std::vector<Format>{
      {"Hugging Face safetensors", "`model.safetensors`", "f32, f16, bf16"},
      {"Hugging Face safetensors, sharded",
       "`model.safetensors.index.json` and the files that it names", "f32, f16, bf16"},
  };
  return formats;
}

std::string SupportMarkdown() {
  std::string text =
      "# What can be opened\n\n"
      "This page is written by `support_table` from the tables in `model/` and `load/support.cc`; "
      "a test compares.\nEvery family can be read from every format. Anything else is refused by "
      "name with UNIMPLEMENTED.\n\n"
      "## Families\n\n"
      "| family | architectures in config.json | covers |\n|---|---|---|\n";
  for (const Family* family : Families()) {
    absl::StrAppend(&text, "| ", family->name, " | ", absl::StrJoin(family->architectures, ", "),
                    " | ", family->covers, " |\n");
  }
  absl::StrAppend(&text,
                  "\n## Formats\n\n"
                  "| format | files beside config.json | weights stored as |\n|---|---|---|\n");
  for (const Format& format : Formats()) {
    absl::StrAppend(&text, "| ", format.name, " | ", format.files, " | ", format.dtypes, " |\n");
  }
  absl::StrAppend(&text, "\n## Families by formats\n\n| |");
  for (const Format& format : Formats()) absl::StrAppend(&text, " ", format.name, " |");
  absl::StrAppend(&text, "\n|---|");
  for (size_t i = 0; i < Formats().size(); ++i) absl::StrAppend(&text, "---|");
  for (const Family* family : Families()) {
    absl::StrAppend(&text, "\n| ", family->name, " |");
    for (size_t i = 0; i < Formats().size(); ++i) absl::StrAppend(&text, " yes |");
  }
  return absl::StrCat(text, "\n");
}

}  // namespace tessera::shard_loader
