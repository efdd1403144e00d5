// A checkpoint folder, opened and checked before a byte of weights is read.
#ifndef TESSERA_SHARD_LOADER_LOAD_CHECKPOINT_H_
#define TESSERA_SHARD_LOADER_LOAD_CHECKPOINT_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/stored_type.h"
#include "shard_loader/load/source_piece.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/dtype.h"
#include "shard_loader/model/families.h"
#include "shard_loader/model/generation_config.h"

namespace tessera::shard_loader {

struct CheckpointFile {
  std::string name;  // inside the folder
  uint64_t size = 0;
  std::optional<std::string> inlined = std::nullopt;  // where set, its bytes: see WeightFile
};

// A weight of the model and where its numbers lie.
struct StoredTensor {
  TensorId id;
  std::string name;           // in the checkpoint
  DType dtype = DType::kF32;  // that it is handed out in; blocks and mixtures become f32
  std::vector<int64_t> shape;
  int file = 0;         // index into files(); of the first piece
  uint64_t offset = 0;  // of its first byte in the file
  StoredType stored = StoredType::kF32;
  std::vector<SourcePiece> pieces;  // together each of its elements once
  uint64_t bytes() const;           // in `dtype`
};

struct CheckpointOptions {
  std::string format;  // one of CheckpointFormats(); empty: what the folder holds
  // False: config.json and generation_config.json alone, for what only pretends to hold weights.
  // There are no tensors and no files then; dtype() is bf16, num_parameters() what the spec says.
  bool with_weights = true;
};

// Immutable, thread-safe. Holds no open files.
class Checkpoint {
 public:
  // Reads config.json, generation_config.json and the headers of the weight files in `folder`, of
  // any format of formats.h, and checks that every weight of the spec is there in its shape.
  // NOT_FOUND: no such folder or no config.json in it; a hub name gets a hint. FAILED_PRECONDITION:
  // weights and configuration disagree. DATA_LOSS: truncated or corrupt. UNIMPLEMENTED:
  // architecture, dtype or format not supported.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::filesystem::path& folder,
                                                          const CheckpointOptions& options = {});

  const std::filesystem::path& folder() const { return folder_; }
  // "safetensors", as formats.h names it.
  const std::string& format() const { return format_; }
  const Model& model() const { return model_; }
  const DecoderSpec& spec() const { return model_.spec; }
  const GenerationDefaults& generation() const { return generation_; }
  // Those of config.json and generation_config.json, ascending.
  const std::vector<int64_t>& stop_token_ids() const { return stop_token_ids_; }

  // The text of config.json, or of one that was made from what the format says itself.
  const std::string& config_json() const { return config_; }

  // What most of the weight bytes are stored in.
  DType dtype() const { return dtype_; }
  // Ascending by id: those that ModelTensors(spec()) lists.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  // Null where the model has no such weight.
  const StoredTensor* Find(TensorId id) const;
  const std::vector<CheckpointFile>& files() const { return files_; }
  // Names of tensors in the files that the model does not use (rotary buffers, a head beside tied
  // embeddings).
  const std::vector<std::string>& ignored() const { return ignored_; }

  uint64_t num_parameters() const { return num_parameters_; }
  // Of the weights that the model uses.
  uint64_t total_bytes() const { return total_bytes_; }
  // A hash of config.json, of all headers, of the file sizes and of a few bytes at fixed places of
  // every file: equal for copies of a checkpoint, different for another training of the same model.
  const std::string& weights_version() const { return weights_version_; }
  // Changes whenever one of the files is written again, also where its version does not: what was
  // made of them is kept under both.
  const std::string& files_stamp() const { return files_stamp_; }

 private:
  friend class CheckpointOpener;
  Checkpoint() = default;

  std::filesystem::path folder_;
  std::string format_;
  std::string config_;
  Model model_;
  GenerationDefaults generation_;
  std::vector<int64_t> stop_token_ids_;
  DType dtype_ = DType::kF32;
  std::vector<StoredTensor> tensors_;
  std::vector<CheckpointFile> files_;
  std::vector<std::string> ignored_;
  uint64_t num_parameters_ = 0;
  uint64_t total_bytes_ = 0;
  std::string weights_version_;
  std::string files_stamp_;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_CHECKPOINT_H_
