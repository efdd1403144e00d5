#include "shard_loader/load/convert.h"

#include <algorithm>
#include <array>
#include <map>
#include <system_error>
#include <tuple>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "shard_loader/io/file_writer.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/safetensors_writer.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/model/tensors.h"
#include "shard_loader/plan/slices.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What is no weight, but belongs to a checkpoint.
constexpr std::array<const char*, 12> kCopied = {"generation_config.json",
                                                 "tokenizer.json",
                                                 "tokenizer_config.json",
                                                 "special_tokens_map.json",
                                                 "added_tokens.json",
                                                 "tokenizer.model",
                                                 "vocab.json",
                                                 "merges.txt",
                                                 "chat_template.jinja",
                                                 "chat_template.json",
                                                 "LICENSE",
                                                 "README.md"};

absl::Status WriteText(const fs::path& path, std::string_view text) {
  ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(path));
  RETURN_IF_ERROR(writer.Write(text));
  return writer.Finish();
}

absl::Status MakeEmpty(const fs::path& out) {
  std::error_code error;
  fs::create_directories(out, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard_loader: cannot make ", out.string(), ": ", error.message()));
  }
  if (fs::is_empty(out, error)) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat("shard_loader: ", out.string(),
                                               " is not empty; give a new folder to convert into"));
}

// Rows and columns of the matrix that FoundTensor's pieces cover.
std::pair<int64_t, int64_t> MatrixOf(const std::vector<int64_t>& shape) {
  int64_t rows = 1;
  for (size_t i = 0; i < shape.size() && (i == 0 || i + 1 < shape.size()); ++i) rows *= shape[i];
  return {rows, shape.size() > 1 ? shape.back() : 1};
}

class Converter {
 public:
  Converter(const Checkpoint& checkpoint, const fs::path& out, const ConvertOptions& options,
            const LoadProgress& progress)
      : checkpoint_(checkpoint),
        out_(out),
        options_(options),
        reader_(checkpoint, [this, &progress](uint64_t bytes_read) {
          if (progress) progress(std::min(bytes_read, total_), total_);
          return absl::OkStatus();
        }) {}

  absl::StatusOr<Converted> Run() {
    RETURN_IF_ERROR(MakeEmpty(out_));
    RETURN_IF_ERROR(options_.tp > 0 ? WriteCut() : WriteWhole());
    RETURN_IF_ERROR(CopyOthers());
    ASSIGN_OR_RETURN(json config, ParseJsonObject(checkpoint_.config_json(), "config.json"));
    config.erase("quantization_config");  // its numbers are plain now
    RETURN_IF_ERROR(WriteText(out_ / "config.json", config.dump(2) + "\n"));
    return std::move(done_);
  }

 private:
  // Every tensor of the checkpoint that holds numbers a weight can have.
  absl::Status WriteWhole() {
    ASSIGN_OR_RETURN(const WeightFiles files,
                     ScanWeightFiles(checkpoint_.folder(), checkpoint_.format()));
    if (files.by_role) {
      return absl::UnimplementedError(
          absl::StrCat("shard_loader: ", checkpoint_.folder().string(),
                       " was cut by `tessera convert --tp`, which does not keep the names of "
                       "Hugging Face; convert the checkpoint that it was made from"));
    }
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, found] : files.tensors) {
      const auto [rows, columns] = MatrixOf(found.shape);
      const bool is_weight = CoverExactly(found.pieces, rows, columns) &&
                             std::all_of(found.pieces.begin(), found.pieces.end(),
                                         [](auto& piece) { return IsWeightType(piece.type); });
      if (!is_weight) continue;
      TensorToWrite tensor{.name = name,
                           .dtype = HandedOutAs(found.pieces),
                           .shape = found.shape,
                           .rows = {0, rows},
                           .columns = {0, columns},
                           .pieces = &found.pieces};
      total_ += tensor.bytes();
      tensors.push_back(std::move(tensor));
    }
    // In the order of the files that are read.
    std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
      const SourcePiece& first = a.pieces->front();
      const SourcePiece& second = b.pieces->front();
      return std::tie(first.file, first.offset) < std::tie(second.file, second.offset);
    });
    return WriteFiles(std::move(tensors));
  }

  absl::Status WriteFiles(std::vector<TensorToWrite> tensors) {
    std::vector<std::vector<TensorToWrite>> files(1);
    uint64_t bytes = 0;
    for (TensorToWrite& tensor : tensors) {
      if (bytes > 0 && bytes + tensor.bytes() > options_.largest_file) {
        files.emplace_back();
        bytes = 0;
      }
      bytes += tensor.bytes();
      files.back().push_back(std::move(tensor));
    }
    json weight_map = json::object();
    for (size_t i = 0; i < files.size(); ++i) {
      const std::string name = files.size() == 1 ? "model.safetensors"
                                                 : absl::StrFormat("model-%05d-of-%05d.safetensors",
                                                                   i + 1, files.size());
      RETURN_IF_ERROR(WriteFile(name, files[i]));
      for (const TensorToWrite& tensor : files[i]) weight_map[tensor.name] = name;
    }
    if (files.size() == 1) return absl::OkStatus();
    const json index = {{"metadata", {{"total_size", total_}}}, {"weight_map", weight_map}};
    return WriteText(out_ / "model.safetensors.index.json", index.dump(2) + "\n");
  }

  absl::Status WriteFile(const std::string& name, const std::vector<TensorToWrite>& tensors) {
    RETURN_IF_ERROR(WriteSafetensors(tensors, reader_, out_ / name));
    std::error_code error;
    done_.files.push_back({name, fs::file_size(out_ / name, error)});
    return absl::OkStatus();
  }

  absl::Status WriteCut() {
    const Layout layout{.tp = options_.tp, .pp = 1, .lanes = options_.lanes};
    ASSIGN_OR_RETURN(const std::vector<RankPlan> plans, MakeRankPlans(checkpoint_.spec(), layout));
    for (const StoredTensor& tensor : checkpoint_.tensors()) total_ += tensor.bytes();
    json index = {{"format", kCutVersion}, {"tp", options_.tp}, {"lanes", options_.lanes}};
    json& described = index["tensors"] = json::object();
    std::map<TensorId, Range> covered;  // of the cut axis, from 0 on: what earlier ranks hold
    for (const RankPlan& plan : plans) {
      const std::string name =
          absl::StrFormat("model-tp-%02d-of-%02d.safetensors", plan.tp_index, options_.tp);
      std::vector<TensorToWrite> tensors;
      for (const TensorSlice& slice : RankSlices(checkpoint_.spec(), plan)) {
        const StoredTensor* stored = checkpoint_.Find(slice.source);
        if (stored == nullptr) return absl::InternalError("shard_loader: a slice of no weight");
        TensorToWrite tensor{.name = TensorName(slice.id),
                             .dtype = stored->dtype,
                             .rows = slice.rows,
                             .columns = slice.columns,
                             .pieces = &stored->pieces};
        const RoleCut cut = CutOf(checkpoint_.spec(), slice.id.role);
        Range& part = cut.axis == 0 ? tensor.rows : tensor.columns;
        Range& before = covered[slice.id];
        part.begin = std::max(part.begin, before.end);
        if (part.begin >= part.end) continue;
        before.end = part.end;
        tensor.shape = stored->shape;
        tensor.shape[0] = tensor.rows.size();
        if (tensor.shape.size() > 1) tensor.shape[1] = tensor.columns.size();
        json& entry = described[tensor.name];
        entry["shape"] = stored->shape;
        entry["parts"].push_back({{"file", name},
                                  {"rows", {tensor.rows.begin, tensor.rows.end}},
                                  {"columns", {tensor.columns.begin, tensor.columns.end}}});
        tensors.push_back(std::move(tensor));
      }
      RETURN_IF_ERROR(WriteFile(name, tensors));
    }
    return WriteText(out_ / kCutIndex, index.dump(1) + "\n");
  }

  absl::Status CopyOthers() {
    std::error_code error;
    for (const char* name : kCopied) {
      if (!fs::is_regular_file(checkpoint_.folder() / name, error)) continue;
      if (!fs::copy_file(checkpoint_.folder() / name, out_ / name, error)) {
        return absl::FailedPreconditionError(
            absl::StrCat("shard_loader: cannot copy ", name, ": ", error.message()));
      }
      done_.copied.push_back(name);
    }
    return absl::OkStatus();
  }

  const Checkpoint& checkpoint_;
  const fs::path& out_;
  const ConvertOptions& options_;
  uint64_t total_ = 0;
  PieceReader reader_;
  Converted done_;
};

}  // namespace

absl::StatusOr<Converted> Convert(const Checkpoint& checkpoint, const fs::path& out,
                                  const ConvertOptions& options, const LoadProgress& progress) {
  return Converter(checkpoint, out, options, progress).Run();
}

}  // namespace tessera::shard_loader
