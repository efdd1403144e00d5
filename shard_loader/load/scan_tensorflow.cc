// TensorFlow: Keras' HDF5 files of Hugging Face models, and checkpoints of an index and data files.
#include <algorithm>
#include <filesystem>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "shard_loader/format/tf_bundle.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/io/file.h"
#include "shard_loader/io/hdf5_file.h"
#include "shard_loader/load/chunked.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/joined.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/model/tensorflow.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKerasFile = "tf_model.h5";
constexpr const char* kKerasIndex = "tf_model.h5.index.json";

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// TensorFlow gives biases of some layers a leading dimension of 1, and the first GPT-2 all kernels.
absl::Status AddNamed(WeightFiles& found, const ForeignName& name, FoundTensor tensor) {
  tensor = Squeezed(std::move(tensor), name.name.ends_with(".bias"));
  if (name.transposed) tensor = Turned(std::move(tensor));
  return AddTensor(found, name.name, std::move(tensor));
}

// Stands for the headers of a file.
std::string HeaderText(const std::vector<Hdf5Dataset>& datasets) {
  std::string text;
  for (const Hdf5Dataset& dataset : datasets) {
    absl::StrAppend(&text, dataset.path, " ", std::string(StoredTypeName(dataset.type)), " ",
                    absl::StrJoin(dataset.shape, ","), " ", dataset.chunks.size(), " ",
                    dataset.chunks.empty() ? 0 : dataset.chunks[0].data.offset, "\n");
  }
  return text;
}

absl::Status AddKerasFile(const fs::path& folder, const std::string& name, WeightFiles& found) {
  ASSIGN_OR_RETURN(const File file, File::Open(folder / name));
  ASSIGN_OR_RETURN(const std::vector<Hdf5Dataset> datasets, ReadHdf5(folder / name));
  const int index = static_cast<int>(found.files.size());
  found.files.push_back({name, file.size(), 0, HeaderText(datasets)});
  for (const Hdf5Dataset& dataset : datasets) {
    const ForeignName hugging_face = HuggingFaceNameOfKeras(dataset.path);
    if (hugging_face.name.empty() || dataset.type == StoredType::kOther) continue;
    ChunkedTensor tensor{.name = dataset.path,
                         .type = dataset.type,
                         .shape = dataset.shape,
                         .chunk_shape = dataset.chunk_shape,
                         .codec = dataset.codec};
    for (const Hdf5Chunk& chunk : dataset.chunks) {
      tensor.chunks.push_back({index, chunk.origin, chunk.data});
    }
    ASSIGN_OR_RETURN(FoundTensor whole, FromChunks(std::move(tensor), name));
    RETURN_IF_ERROR(AddNamed(found, hugging_face, std::move(whole)));
  }
  return absl::OkStatus();
}

bool KerasIsHere(const fs::path& folder) {
  return Exists(folder / kKerasFile) || Exists(folder / kKerasIndex);
}

absl::StatusOr<WeightFiles> ScanKeras(const fs::path& folder) {
  if (!Exists(folder / kKerasFile) && Exists(folder / kKerasIndex)) {
    return absl::UnimplementedError(
        absl::StrCat("shard_loader: ", kKerasIndex,
                     ": HDF5 weights in several files are not supported; save them in one"));
  }
  WeightFiles found;
  ASSIGN_OR_RETURN(found.config, ReadConfigJson(folder));
  RETURN_IF_ERROR(AddKerasFile(folder, kKerasFile, found));
  return found;
}

std::string DataName(const std::string& stem, int shard, int shards) {
  return absl::StrFormat("%s.data-%05d-of-%05d", stem, shard, shards);
}

// "model.ckpt" where model.ckpt.index lies beside its data; the last by name where there are many.
std::string BundleStem(const fs::path& folder) {
  std::string stem;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".index") continue;
    const std::string candidate = entry.path().stem().string();
    const bool has_data = std::any_of(
        fs::directory_iterator(folder, error), fs::directory_iterator(), [&](const auto& other) {
          return other.path().filename().string().starts_with(candidate + ".data-00000-of-");
        });
    if (has_data) stem = std::max(stem, candidate);
  }
  return stem;
}

bool BundleIsHere(const fs::path& folder) { return !BundleStem(folder).empty(); }

// The first GPT-2's hparams.json says what config.json would.
absl::StatusOr<std::string> BundleConfig(const fs::path& folder) {
  absl::StatusOr<std::string> config = ReadConfigJson(folder);
  if (!absl::IsNotFound(config.status()) || !Exists(folder / "hparams.json")) return config;
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(folder / "hparams.json", 1 << 20));
  ASSIGN_OR_RETURN(const nlohmann::json hparams, ParseJsonObject(text, "hparams.json"));
  nlohmann::json made = {{"architectures", {"GPT2LMHeadModel"}},
                         {"model_type", "gpt2"},
                         {"activation_function", "gelu_new"},
                         {"layer_norm_epsilon", 1e-5}};
  const std::pair<const char*, const char*> keys[] = {{"n_vocab", "vocab_size"},
                                                      {"n_ctx", "n_positions"},
                                                      {"n_embd", "n_embd"},
                                                      {"n_head", "n_head"},
                                                      {"n_layer", "n_layer"}};
  for (const auto& [theirs, ours] : keys) {
    const auto value = hparams.find(theirs);
    if (value == hparams.end() || !value->is_number_integer()) {
      return absl::FailedPreconditionError(
          absl::StrCat("shard_loader: hparams.json: ", theirs, " is missing or no integer"));
    }
    made[ours] = *value;
  }
  return made.dump();
}

absl::StatusOr<WeightFiles> ScanBundle(const fs::path& folder) {
  const std::string stem = BundleStem(folder);
  if (stem.empty()) {
    return absl::NotFoundError(
        absl::StrCat("shard_loader: no NAME.index with its NAME.data-... in ", folder.string()));
  }
  WeightFiles found;
  ASSIGN_OR_RETURN(found.config, BundleConfig(folder));
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> index,
                   ByteFile::Open(folder / (stem + ".index")));
  ASSIGN_OR_RETURN(const TfBundle bundle, ReadTfBundle(*index));
  ASSIGN_OR_RETURN(std::string index_bytes, ReadString(*index, 0, index->size()));
  found.files.push_back({stem + ".index", index->size(), index->size(), std::move(index_bytes)});
  for (int shard = 0; shard < bundle.shards; ++shard) {
    const std::string name = DataName(stem, shard, bundle.shards);
    ASSIGN_OR_RETURN(const File file, File::Open(folder / name));
    found.files.push_back({name, file.size(), 0, ""});
  }
  for (const TfBundleTensor& variable : bundle.tensors) {
    const ForeignName name = HuggingFaceNameOfVariable(variable.name);
    if (name.name.empty()) continue;
    const WeightFile& file = found.files[variable.shard + 1];
    if (!Within(variable.data.offset, variable.data.bytes, file.size)) {
      return absl::DataLossError(absl::StrCat("shard_loader: ", file.name, ": variable '",
                                              Excerpt(variable.name), "' ends past the ", file.size,
                                              " bytes of the file; it is truncated"));
    }
    FoundTensor tensor =
        WholeTensor(variable.shard + 1, {.name = variable.name,
                                         .type = variable.type,
                                         .shape = variable.shape,
                                         .strides = RowMajorStrides(variable.shape),
                                         .data = variable.data});
    RETURN_IF_ERROR(AddNamed(found, name, std::move(tensor)));
  }
  return found;
}

}  // namespace

const CheckpointFormat& KerasFormat() {
  static constexpr CheckpointFormat kFormat{
      "keras", "Keras HDF5 (`tf_model.h5`) of Hugging Face's TensorFlow models; deflate, shuffle",
      KerasIsHere, ScanKeras};
  return kFormat;
}

const CheckpointFormat& TensorFlowFormat() {
  static constexpr CheckpointFormat kFormat{
      "tensorflow",
      "TensorFlow checkpoints (`.index`, `.data-XXXXX-of-YYYYY`) of Hugging Face's TensorFlow "
      "models "
      "and of the first GPT-2 (`hparams.json`)",
      BundleIsHere, ScanBundle};
  return kFormat;
}

}  // namespace tessera::shard_loader
