// Writes a checkpoint as safetensors: whole, as Hugging Face has it, or cut for tensor-parallel
// ranks.
#ifndef TESSERA_SHARD_LOADER_LOAD_CONVERT_H_
#define TESSERA_SHARD_LOADER_LOAD_CONVERT_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/load/load_shard.h"

namespace tessera::shard_loader {

struct ConvertOptions {
  int tp = 0;     // 0: whole; else so many ranks, each with a file of what it holds
  int lanes = 8;  // of the cuts
  uint64_t largest_file = 5'000'000'000;  // bytes, where one weight has no more; of a whole one
};

struct Converted {
  std::vector<CheckpointFile> files;  // weights
  std::vector<std::string> copied;    // tokenizer and the like, from the checkpoint's folder
};

// Whole: tensors have Hugging Face's names and shapes, in the dtype that they are handed out in,
// beside config.json and a model.safetensors.index.json where there are several files. Cut: the
// format `tessera` of formats.h, in which every byte stands once: what several ranks hold stands in
// the first one's file. `out` is made, or empty; files get their names when they are whole, the
// index and config.json last, so that a conversion that was broken off is no checkpoint.
// ALREADY_EXISTS: `out` is not empty. FAILED_PRECONDITION: impossible degrees.
// RESOURCE_EXHAUSTED: no room. Errors also as LoadShard.
absl::StatusOr<Converted> Convert(const Checkpoint& checkpoint, const std::filesystem::path& out,
                                  const ConvertOptions& options,
                                  const LoadProgress& progress = nullptr);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_CONVERT_H_
