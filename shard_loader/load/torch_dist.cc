#include "shard_loader/load/torch_dist.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/torch_dist.h"
#include "shard_loader/format/torch_file.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostIndexBytes = 1 << 30;

// Bytes of a file as a file of their own.
class PartSource : public ByteSource {
 public:
  PartSource(const ByteSource& file, const ByteRange& range) : file_(file), range_(range) {}
  const std::string& name() const override { return file_.name(); }
  uint64_t size() const override { return range_.bytes; }
  absl::Status Read(uint64_t offset, absl::Span<char> out) const override {
    if (Within(offset, out.size(), range_.bytes)) return file_.Read(range_.offset + offset, out);
    return absl::DataLossError(absl::StrCat("shard_loader: ", name(), ": a chunk is cut off"));
  }

 private:
  const ByteSource& file_;
  const ByteRange range_;
};

// Rows and columns that a chunk covers in the matrix of FoundTensor; none where it is no rectangle.
std::optional<std::pair<int64_t, int64_t>> CornerOf(const DistChunk& chunk,
                                                    const std::vector<int64_t>& shape) {
  if (shape.empty()) return std::pair<int64_t, int64_t>(0, 0);
  int64_t row = chunk.origin[0];
  bool many = chunk.sizes[0] != 1;  // whether a dimension before has more than one element
  for (size_t i = 1; i + 1 < shape.size(); ++i) {
    if (many && chunk.sizes[i] != shape[i]) return std::nullopt;
    many = many || chunk.sizes[i] != 1;
    row = row * shape[i] + chunk.origin[i];
  }
  return std::pair(row, shape.size() > 1 ? chunk.origin.back() : 0);
}

class Opener {
 public:
  Opener(const fs::path& folder, const std::string& inside, WeightFiles& files)
      : folder_(folder), inside_(inside), files_(files) {}

  absl::StatusOr<FoundTensor> Take(const DistTensor& tensor) {
    FoundTensor found{.name = tensor.name, .shape = tensor.shape};
    for (const DistChunk& chunk : tensor.chunks) {
      ASSIGN_OR_RETURN(const OpenFile* const file, Open(chunk.file));
      ASSIGN_OR_RETURN(const IndexedTensor stored, ReadChunk(*file->bytes, chunk, tensor.name));
      found.type = stored.type;
      const auto corner = CornerOf(chunk, tensor.shape);
      if (!corner || !HasFlatRows(stored)) {
        found.pieces.clear();
        return found;
      }
      const SourcePiece piece = PieceOf(file->index, stored);
      int64_t rows = 1;
      for (size_t i = 0; i < chunk.sizes.size() && (i == 0 || i + 1 < chunk.sizes.size()); ++i) {
        rows *= chunk.sizes[i];
      }
      if (piece.rows.size() != rows) {
        return Corrupt(chunk.file, tensor.name, "is stored with another shape");
      }
      if (rows > 0) found.pieces.push_back(MovedTo(piece, corner->first, corner->second));
    }
    return found;
  }

 private:
  struct OpenFile {
    int index = 0;
    std::unique_ptr<ByteFile> bytes;
  };

  static absl::Status Corrupt(const std::string& file, const std::string& name,
                              std::string_view what) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": a chunk of tensor '",
                                            Excerpt(name), "' ", std::string(what),
                                            "; the checkpoint is corrupt"));
  }

  absl::StatusOr<const OpenFile*> Open(const std::string& name) {
    const auto known = open_.find(name);
    if (known != open_.end()) return &known->second;
    OpenFile file{static_cast<int>(files_.files.size()), nullptr};
    ASSIGN_OR_RETURN(file.bytes, ByteFile::Open(folder_ / inside_ / name));
    files_.files.push_back({inside_ + name, file.bytes->size(), 0, ""});
    return &open_.emplace(name, std::move(file)).first->second;
  }

  // The tensor that torch.save wrote, with its place in the whole file.
  static absl::StatusOr<IndexedTensor> ReadChunk(const ByteSource& file, const DistChunk& chunk,
                                                 const std::string& name) {
    if (!Within(chunk.data.offset, chunk.data.bytes, file.size())) {
      return Corrupt(chunk.file, name, "ends past the end of the file");
    }
    const PartSource part(file, chunk.data);
    ASSIGN_OR_RETURN(const std::unique_ptr<TorchFile> torch, TorchFile::Read(part));
    const std::vector<IndexedTensor>& tensors = torch->index().tensors();
    int64_t stored = 0;
    int64_t expected = 0;
    if (tensors.size() != 1 || !CountElements(tensors[0].shape, int64_t{1} << 46, &stored) ||
        !CountElements(chunk.sizes, int64_t{1} << 46, &expected) || stored != expected) {
      return Corrupt(chunk.file, name, "is no tensor of its size");
    }
    IndexedTensor tensor = tensors[0];
    tensor.data.offset += chunk.data.offset;
    return tensor;
  }

  const fs::path& folder_;
  const std::string& inside_;
  WeightFiles& files_;
  std::map<std::string, OpenFile> open_;
};

}  // namespace

absl::StatusOr<std::map<std::string, FoundTensor>> ReadTorchDist(const fs::path& folder,
                                                                 const std::string& inside,
                                                                 WeightFiles& files) {
  const std::string name = inside + kTorchDistIndex;
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> index, ByteFile::Open(folder / name));
  if (index->size() > kMostIndexBytes) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", name, ": ", index->size(),
                                            " bytes, more than such an index has"));
  }
  ASSIGN_OR_RETURN(std::string bytes, ReadString(*index, 0, index->size()));
  ASSIGN_OR_RETURN(const std::vector<DistTensor> tensors, ParseTorchDist(bytes, name));
  files.files.push_back({name, index->size(), index->size(), std::move(bytes)});
  Opener opener(folder, inside, files);
  std::map<std::string, FoundTensor> found;
  for (const DistTensor& tensor : tensors) {
    // An optimizer's states are several times the weights; nothing of them is read.
    if (tensor.name.starts_with("optimizer.") || tensor.name.starts_with("optim.")) continue;
    ASSIGN_OR_RETURN(FoundTensor whole, opener.Take(tensor));
    found.emplace(tensor.name, std::move(whole));
  }
  return found;
}

}  // namespace tessera::shard_loader
