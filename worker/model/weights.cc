#include "worker/model/weights.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/model/tensors.h"
#include "shard_loader/status_macros.h"
#include "worker/backend/coded_matrix.h"
#include "worker/model/pack_same.h"
#include "worker/tensor/convert.h"

namespace tessera::worker {
namespace {

using shard_loader::DType;
using shard_loader::HostTensor;
using shard_loader::kTileRows;
using shard_loader::PackedTensor;
using shard_loader::TensorId;
using shard_loader::TensorRole;

// Columns converted at a time: a tile's part stays in the first cache.
constexpr int64_t kColumnChunk = 256;

PackedMatrix MatrixOf(const PackedTensor& tensor, const std::byte* image) {
  return {image + tensor.offset,
          tensor.dtype,
          tensor.rows,
          tensor.columns,
          tensor.codes,
          tensor.groups.data(),
          std::max<int64_t>(0, static_cast<int64_t>(tensor.groups.size()) - 1)};
}

// Row-major to codes in tiles.
void PackCodes(const PackedTensor& tensor, DType stored, const std::byte* from, std::byte* image) {
  const PackedMatrix matrix = MatrixOf(tensor, image);
  std::vector<float> row(tensor.columns);
  for (int64_t r = 0; r < tensor.rows; ++r) {
    WidenElements(from + r * tensor.columns * DTypeSize(stored), stored, tensor.columns,
                  row.data());
    PackCodedRow(matrix, r, row.data(), image + tensor.offset);
  }
}

// Codes and scales as they are, to tiles; false where the groups are others.
bool PackGivenCodes(const PackedTensor& tensor, const shard_loader::CodedRows& given,
                    std::byte* image) {
  const PackedMatrix matrix = MatrixOf(tensor, image);
  const auto rows = static_cast<size_t>(tensor.rows);
  const auto groups = static_cast<size_t>(given.groups);
  if (given.groups != matrix.num_groups || given.scales.size() != rows * groups ||
      given.minima.size() != rows * groups ||
      given.codes.size() != rows * static_cast<size_t>(tensor.columns)) {
    return false;
  }
  for (int64_t row = 0; row < tensor.rows; ++row) {
    const int8_t* codes = given.codes.data() + row * tensor.columns;
    for (int64_t group = 0; group < given.groups; ++group) {
      const int64_t place = row * given.groups + group;
      PackRowGroup(
          matrix,
          {row, group, codes + matrix.groups[group], given.scales[place], given.minima[place]},
          image + tensor.offset);
    }
  }
  return true;
}

// Row-major to tiles. The image is zeroed already, which pads the last tile.
void PackMatrix(const PackedTensor& tensor, DType stored, const std::byte* from, std::byte* to) {
  if (stored == tensor.dtype) return PackSame(from, tensor.rows, tensor.columns, stored, to);
  const int64_t from_size = DTypeSize(stored);
  const int64_t to_size = DTypeSize(tensor.dtype);
  std::vector<float> rows(kTileRows * kColumnChunk);
  std::vector<float> packed(kTileRows * kColumnChunk);
  for (int64_t row = 0; row < tensor.rows; row += kTileRows) {
    const int64_t height = std::min(kTileRows, tensor.rows - row);
    for (int64_t column = 0; column < tensor.columns; column += kColumnChunk) {
      const int64_t width = std::min(kColumnChunk, tensor.columns - column);
      std::fill(packed.begin(), packed.end(), 0.0f);
      for (int64_t r = 0; r < height; ++r) {
        const int64_t first = (row + r) * tensor.columns + column;
        WidenElements(from + first * from_size, stored, width, rows.data());
        for (int64_t c = 0; c < width; ++c) {
          packed[shard_loader::PackedIndex(r, c, kColumnChunk, tensor.dtype)] = rows[c];
        }
      }
      const int64_t index = shard_loader::PackedIndex(row, column, tensor.columns, tensor.dtype);
      NarrowElements(packed.data(), shard_loader::PackedElements(kTileRows, width), tensor.dtype,
                     to + index * to_size);
    }
  }
}

absl::Status CheckSize(const Buffer& image, const shard_loader::PackedLayout& layout) {
  if (image.size() == layout.bytes) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("worker: the image of the weights has ", image.size(),
                                          " bytes, its layout has ", layout.bytes));
}

std::string ShapeText(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Where the weights lie in a finished image.
struct ImageView {
  const shard_loader::PackedLayout& layout;
  const std::byte* image;

  PackedMatrix Matrix(TensorId id) const {
    const PackedTensor* tensor = layout.Find(id);
    if (tensor == nullptr) return {};
    return MatrixOf(*tensor, image);
  }
  const float* Vector(TensorId id) const {
    const PackedTensor* tensor = layout.Find(id);
    if (tensor == nullptr) return nullptr;
    return reinterpret_cast<const float*>(image + tensor->offset);
  }
  NormWeights Norm(int64_t layer, TensorRole weight, TensorRole bias) const;
  MlpWeights Expert(int64_t layer, int64_t expert) const;
  LayerWeights Layer(int64_t layer, shard_loader::Range experts) const;
};

NormWeights ImageView::Norm(int64_t layer, TensorRole weight, TensorRole bias) const {
  return {Vector({layer, weight}), Vector({layer, bias})};
}

MlpWeights ImageView::Expert(int64_t layer, int64_t expert) const {
  MlpWeights weights;
  weights.gate = Matrix({layer, TensorRole::kExpertGate, expert});
  weights.up = Matrix({layer, TensorRole::kExpertUp, expert});
  weights.down = Matrix({layer, TensorRole::kExpertDown, expert});
  weights.gate_bias = Vector({layer, TensorRole::kExpertGateBias, expert});
  weights.up_bias = Vector({layer, TensorRole::kExpertUpBias, expert});
  return weights;
}

LayerWeights ImageView::Layer(int64_t layer, shard_loader::Range experts) const {
  auto matrix = [&](TensorRole role) { return Matrix({layer, role}); };
  auto vector = [&](TensorRole role) { return Vector({layer, role}); };
  LayerWeights weights;
  weights.attention_norm = Norm(layer, TensorRole::kAttentionNorm, TensorRole::kAttentionNormBias);
  weights.query_down = matrix(TensorRole::kQueryDown);
  weights.query_down_norm = vector(TensorRole::kQueryDownNorm);
  weights.latent_down = matrix(TensorRole::kLatentDown);
  weights.latent_norm = vector(TensorRole::kLatentNorm);
  weights.key_rope = matrix(TensorRole::kKeyRope);
  weights.query = matrix(TensorRole::kQuery);
  weights.key = matrix(TensorRole::kKey);
  weights.value = matrix(TensorRole::kValue);
  weights.output = matrix(TensorRole::kOutput);
  weights.query_bias = vector(TensorRole::kQueryBias);
  weights.key_bias = vector(TensorRole::kKeyBias);
  weights.value_bias = vector(TensorRole::kValueBias);
  weights.query_norm = Norm(layer, TensorRole::kQueryNorm, TensorRole::kQueryNormBias);
  weights.key_norm = Norm(layer, TensorRole::kKeyNorm, TensorRole::kKeyNormBias);
  weights.sinks = vector(TensorRole::kSinks);
  weights.output_bias = vector(TensorRole::kOutputBias);
  weights.post_attention_norm = vector(TensorRole::kPostAttentionNorm);
  weights.mlp_norm = Norm(layer, TensorRole::kMlpNorm, TensorRole::kMlpNormBias);
  weights.mlp.gate = matrix(TensorRole::kGate);
  weights.mlp.up = matrix(TensorRole::kUp);
  weights.mlp.down = matrix(TensorRole::kDown);
  weights.mlp.gate_bias = vector(TensorRole::kGateBias);
  weights.mlp.up_bias = vector(TensorRole::kUpBias);
  weights.mlp.down_bias = vector(TensorRole::kDownBias);
  weights.router = matrix(TensorRole::kRouter);
  weights.router_bias = vector(TensorRole::kRouterBias);
  weights.router_correction = vector(TensorRole::kRouterCorrection);
  for (int64_t e = experts.begin; e < experts.end; ++e) {
    weights.experts.push_back(Expert(layer, e));
  }
  weights.expert_down_bias = vector(TensorRole::kExpertDownBias);
  weights.shared.gate = matrix(TensorRole::kSharedGate);
  weights.shared.up = matrix(TensorRole::kSharedUp);
  weights.shared.down = matrix(TensorRole::kSharedDown);
  weights.shared_expert_gate = matrix(TensorRole::kSharedExpertGate);
  weights.post_mlp_norm = vector(TensorRole::kPostMlpNorm);
  return weights;
}

}  // namespace

absl::StatusOr<WeightsBuilder> WeightsBuilder::Create(const shard_loader::DecoderSpec& spec,
                                                      const shard_loader::RankPlan& plan,
                                                      const shard_loader::WeightFormat& format,
                                                      Buffer image) {
  WeightsBuilder builder;
  builder.layout_ = shard_loader::MakePackedLayout(spec, plan, format);
  RETURN_IF_ERROR(CheckSize(image, builder.layout_));
  builder.one_plus_ = spec.norm.one_plus;
  builder.progress_.resize(builder.layout_.tensors.size());
  builder.image_ = std::move(image);
  return builder;
}

absl::Status WeightsBuilder::Add(const HostTensor& given) {
  const PackedTensor* tensor = layout_.Find(given.id);
  const std::string name = shard_loader::TensorName(given.id);
  if (tensor == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("worker: weight '", name, "' was read, but this rank holds none of it"));
  }
  std::vector<int64_t> expected = {tensor->rows};
  if (tensor->is_matrix) expected.push_back(tensor->columns);
  const shard_loader::Range& rows = given.rows;
  const int64_t size =
      given.coded != nullptr ? 0 : rows.size() * tensor->columns * DTypeSize(given.dtype);
  if (given.shape != expected || static_cast<int64_t>(given.bytes.size()) != size ||
      rows.begin < 0 || rows.end > tensor->rows || rows.begin % kTileRows != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("worker: weight '", name, "' has shape ", ShapeText(given.shape), " and rows ",
                     rows.begin, " to ", rows.end, " in ", given.bytes.size(), " bytes; expected ",
                     ShapeText(expected), " in ", size));
  }
  RETURN_IF_ERROR(Count(tensor - layout_.tensors.data(), rows, name));
  // The rows as a matrix of their own: they fill whole tiles.
  PackedTensor part = *tensor;
  part.rows = rows.size();
  if (!tensor->is_matrix) {
    float* const to = reinterpret_cast<float*>(image_.data() + tensor->offset);
    WidenElements(given.bytes.data(), given.dtype, part.rows, to + rows.begin);
    const bool one_plus = one_plus_ && shard_loader::IsNormWeight(given.id.role);
    for (int64_t i = rows.begin; one_plus && i < rows.end; ++i) to[i] += 1.0f;
    return absl::OkStatus();
  }
  const int64_t tiles = (tensor->rows + kTileRows - 1) / kTileRows;
  part.offset += tensor->bytes / tiles * (rows.begin / kTileRows);
  if (given.coded != nullptr) {
    if (PackGivenCodes(part, *given.coded, image_.data())) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("worker: weight '", name, "' comes in other blocks than it is held in"));
  }
  if (part.codes != shard_loader::Codes::kNone) {
    PackCodes(part, given.dtype, given.bytes.data(), image_.data());
  } else {
    PackMatrix(part, given.dtype, given.bytes.data(), image_.data() + part.offset);
  }
  return absl::OkStatus();
}

absl::Status WeightsBuilder::Count(size_t index, shard_loader::Range rows,
                                   const std::string& name) {
  MutexLock lock(*mutex_);
  Progress& progress = progress_[index];
  if (!progress.begins.insert(rows.begin).second) {
    return absl::FailedPreconditionError(absl::StrCat("worker: weight '", name, "' came twice"));
  }
  progress.rows += rows.size();
  return absl::OkStatus();
}

absl::StatusOr<Buffer> WeightsBuilder::Finish() {
  MutexLock lock(*mutex_);
  for (size_t i = 0; i < progress_.size(); ++i) {
    if (progress_[i].rows == layout_.tensors[i].rows) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("worker: weight '", shard_loader::TensorName(layout_.tensors[i].id),
                     "' was not read whole, but this rank needs it"));
  }
  progress_.clear();
  return std::move(image_);
}

absl::StatusOr<std::unique_ptr<const Weights>> Weights::Create(
    const shard_loader::DecoderSpec& spec, const shard_loader::RankPlan& plan,
    const shard_loader::WeightFormat& format, Buffer image) {
  std::unique_ptr<Weights> weights(new Weights());
  weights->layout_ = shard_loader::MakePackedLayout(spec, plan, format);
  RETURN_IF_ERROR(CheckSize(image, weights->layout_));
  const ImageView view = {weights->layout_, image.data()};
  weights->embedding_ = view.Matrix({-1, TensorRole::kEmbedding});
  weights->embedding_project_ = view.Matrix({-1, TensorRole::kEmbeddingProject});
  weights->position_embedding_ = view.Matrix({-1, TensorRole::kPositionEmbedding});
  weights->embedding_norm_ =
      view.Norm(-1, TensorRole::kEmbeddingNorm, TensorRole::kEmbeddingNormBias);
  for (int64_t layer = plan.layers.begin; layer < plan.layers.end; ++layer) {
    weights->layers_.push_back(view.Layer(layer, plan.experts));
  }
  weights->final_norm_ = view.Norm(-1, TensorRole::kFinalNorm, TensorRole::kFinalNormBias);
  weights->head_project_ = view.Matrix({-1, TensorRole::kHeadProject});
  weights->head_ = view.Matrix({-1, TensorRole::kHead});
  weights->head_bias_ = view.Vector({-1, TensorRole::kHeadBias});
  if (plan.has_head && weights->head_.data == nullptr) weights->head_ = weights->embedding_;
  weights->image_ = std::move(image);
  return std::unique_ptr<const Weights>(std::move(weights));
}

}  // namespace tessera::worker
