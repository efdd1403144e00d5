#include "shard_loader/format/torch_dist.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/pickle.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 46;

bool IsPlainName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

class Reader {
 public:
  Reader(const Pickle& pickle, const std::string& file) : pickle_(pickle), file_(file) {}

  absl::StatusOr<std::vector<DistTensor>> Read() {
    RETURN_IF_ERROR(TakePlaces());
    const PickleValue* tensors = pickle_.Attribute(pickle_.root(), "state_dict_metadata");
    if (tensors == nullptr || tensors->kind != PickleKind::kDict) {
      return Corrupt("there is no state_dict_metadata");
    }
    std::vector<DistTensor> out;
    for (size_t i = 0; i < tensors->items.size(); i += 2) {
      const PickleValue& name = pickle_.at(tensors->items[i]);
      const PickleValue& stored = pickle_.at(tensors->items[i + 1]);
      if (name.kind != PickleKind::kString || !stored.text.ends_with("TensorStorageMetadata")) {
        continue;
      }
      ASSIGN_OR_RETURN(DistTensor tensor, TensorOf(std::string(name.text), stored));
      out.push_back(std::move(tensor));
    }
    return out;
  }

 private:
  struct Place {
    std::string file;
    ByteRange data;
  };

  absl::Status Corrupt(std::string_view what) const {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file_, ": ", std::string(what),
                                            "; the index is truncated or corrupt"));
  }

  bool Sizes(const PickleValue* value, std::vector<int64_t>* out) const {
    if (value == nullptr ||
        (value->kind != PickleKind::kTuple && value->kind != PickleKind::kList) ||
        value->items.size() > kMaxDimensions) {
      return false;
    }
    for (const PickleRef ref : value->items) {
      const PickleValue& size = pickle_.at(ref);
      const bool fits =
          size.kind == PickleKind::kInt && size.integer >= 0 && size.integer <= kMostElements;
      if (!fits) return false;
      out->push_back(size.integer);
    }
    return true;
  }

  // storage_data: {MetadataIndex(fqn, offset): _StorageInfo(relative_path, offset, length)}.
  absl::Status TakePlaces() {
    const PickleValue* places = pickle_.Attribute(pickle_.root(), "storage_data");
    if (places == nullptr || places->kind != PickleKind::kDict) {
      return Corrupt("there is no storage_data");
    }
    for (size_t i = 0; i < places->items.size(); i += 2) {
      const PickleValue& key = pickle_.at(places->items[i]);
      const PickleValue& value = pickle_.at(places->items[i + 1]);
      const PickleValue* name = pickle_.Attribute(key, "fqn");
      std::vector<int64_t> origin;
      if (name == nullptr || name->kind != PickleKind::kString)
        return Corrupt("a chunk of nothing");
      if (!Sizes(pickle_.Attribute(key, "offset"), &origin)) continue;  // no tensor
      Place place;
      RETURN_IF_ERROR(TakePlace(value, name->text, &place));
      places_.insert_or_assign({std::string(name->text), std::move(origin)}, std::move(place));
    }
    return absl::OkStatus();
  }

  absl::Status TakePlace(const PickleValue& value, std::string_view name, Place* place) const {
    const PickleValue* path = pickle_.Attribute(value, "relative_path");
    const PickleValue* offset = pickle_.Attribute(value, "offset");
    const PickleValue* length = pickle_.Attribute(value, "length");
    const auto is_number = [](const PickleValue* number) {
      return number != nullptr && number->kind == PickleKind::kInt && number->integer >= 0;
    };
    if (path == nullptr || path->kind != PickleKind::kString || !is_number(offset) ||
        !is_number(length) || !IsPlainName(path->text)) {
      return Corrupt(absl::StrCat("a chunk of '", Excerpt(name), "' lies in no plain file"));
    }
    const PickleValue* transforms = pickle_.Attribute(value, "transform_descriptors");
    if (transforms != nullptr && !transforms->items.empty()) {
      return absl::UnimplementedError(
          absl::StrCat("shard_loader: ", file_, ": tensor '", Excerpt(name),
                       "' was stored through a transformation, which is not supported"));
    }
    *place = {std::string(path->text),
              {static_cast<uint64_t>(offset->integer), static_cast<uint64_t>(length->integer)}};
    return absl::OkStatus();
  }

  absl::StatusOr<DistTensor> TensorOf(std::string name, const PickleValue& stored) const {
    DistTensor tensor{.name = std::move(name)};
    const PickleValue* chunks = pickle_.Attribute(stored, "chunks");
    int64_t elements = 0;
    if (!Sizes(pickle_.Attribute(stored, "size"), &tensor.shape) || chunks == nullptr ||
        chunks->kind != PickleKind::kList ||
        !CountElements(tensor.shape, kMostElements, &elements)) {
      return Corrupt(absl::StrCat("tensor '", Excerpt(tensor.name), "' has no size and chunks"));
    }
    for (const PickleRef ref : chunks->items) {
      DistChunk chunk;
      const PickleValue& value = pickle_.at(ref);
      if (!Sizes(pickle_.Attribute(value, "offsets"), &chunk.origin) ||
          !Sizes(pickle_.Attribute(value, "sizes"), &chunk.sizes) || !IsInside(chunk, tensor)) {
        return Corrupt(absl::StrCat("a chunk of '", Excerpt(tensor.name), "' lies outside of it"));
      }
      const auto place = places_.find({tensor.name, chunk.origin});
      if (place == places_.end()) {
        return Corrupt(absl::StrCat("a chunk of '", Excerpt(tensor.name), "' lies in no file"));
      }
      chunk.file = place->second.file;
      chunk.data = place->second.data;
      tensor.chunks.push_back(std::move(chunk));
    }
    return tensor;
  }

  static bool IsInside(const DistChunk& chunk, const DistTensor& tensor) {
    if (chunk.origin.size() != tensor.shape.size() || chunk.sizes.size() != tensor.shape.size()) {
      return false;
    }
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      if (chunk.origin[i] > tensor.shape[i] || chunk.sizes[i] > tensor.shape[i] - chunk.origin[i]) {
        return false;
      }
    }
    return true;
  }

  const Pickle& pickle_;
  const std::string& file_;
  std::map<std::pair<std::string, std::vector<int64_t>>, Place> places_;
};

}  // namespace

absl::StatusOr<std::vector<DistTensor>> ParseTorchDist(std::string_view bytes,
                                                       const std::string& file) {
  const PickleLimits limits{.max_memory = std::max<uint64_t>(32 * bytes.size(), 1 << 20)};
  const absl::StatusOr<Pickle> pickle = Pickle::Parse(bytes, file, limits);
  if (absl::IsOutOfRange(pickle.status())) {
    return absl::DataLossError(pickle.status().message());
  }
  RETURN_IF_ERROR(pickle.status());
  return Reader(*pickle, file).Read();
}

}  // namespace tessera::shard_loader
