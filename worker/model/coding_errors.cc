#include "worker/model/coding_errors.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/load/block_format.h"
#include "shard_loader/load/load_shard.h"
#include "shard_loader/model/tensors.h"
#include "shard_loader/mutex.h"
#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/status_macros.h"
#include "worker/backend/coded_matrix.h"
#include "worker/tensor/convert.h"

namespace tessera::worker {
namespace {

using shard_loader::DType;
using shard_loader::HostTensor;
using shard_loader::PackedTensor;

constexpr uint64_t kPartBytes = 1 << 20;  // read and coded at a time

// One row as a matrix of its own: the numbers that it stands for in the checkpoint, and its codes.
void TakeRow(const HostTensor& given, int64_t row, const PackedMatrix& matrix, float* values,
             std::byte* tile) {
  if (given.coded == nullptr) {
    WidenElements(given.bytes.data() + row * matrix.columns * DTypeSize(given.dtype), given.dtype,
                  matrix.columns, values);
    return PackCodedRow(matrix, 0, values, tile);
  }
  const int8_t* codes = given.coded->codes.data() + row * matrix.columns;
  for (int64_t group = 0; group < matrix.num_groups; ++group) {
    const int64_t place = row * given.coded->groups + group;
    const uint16_t scale_bits = given.coded->scales[place];
    const float minimum = given.coded->minima[place];
    float scale = 0;
    WidenElements(reinterpret_cast<const std::byte*>(&scale_bits), DType::kF16, 1, &scale);
    for (int64_t i = matrix.groups[group]; i < matrix.groups[group + 1]; ++i) {
      values[i] = static_cast<float>(codes[i]) * scale + minimum;
    }
    PackRowGroup(matrix, {0, group, codes + matrix.groups[group], scale_bits, minimum}, tile);
  }
}

// Some rows of a weight, each coded as a matrix of one row.
CodingError MeasureRows(const PackedTensor& tensor, const HostTensor& given) {
  const int64_t num_groups = static_cast<int64_t>(tensor.groups.size()) - 1;
  const int64_t bytes = shard_loader::MakeCodedTile(tensor.codes, tensor.columns, num_groups).bytes;
  std::vector<std::byte> tile(bytes);
  std::vector<float> values(tensor.columns), coded(tensor.columns);
  CodingError error;
  error.taken = given.coded != nullptr;
  for (int64_t row = 0; row < given.rows.size(); ++row) {
    std::fill(tile.begin(), tile.end(), std::byte{0});
    const PackedMatrix matrix = {tile.data(),  tensor.dtype,         1,         tensor.columns,
                                 tensor.codes, tensor.groups.data(), num_groups};
    TakeRow(given, row, matrix, values.data(), tile.data());
    ReadRow(matrix, 0, coded.data());
    for (int64_t i = 0; i < tensor.columns; ++i) {
      const double difference = std::abs(double{values[i]} - coded[i]);
      // Written so that NaN stays.
      error.largest = difference <= error.largest ? error.largest : difference;
      error.squares += difference * difference;
      error.weight_squares += double{values[i]} * values[i];
    }
  }
  error.elements = given.rows.size() * tensor.columns;
  return error;
}

void Add(const CodingError& part, CodingError& sum) {
  sum.elements += part.elements;
  sum.taken |= part.taken;
  sum.largest = part.largest <= sum.largest ? sum.largest : part.largest;
  sum.squares += part.squares;
  sum.weight_squares += part.weight_squares;
}

}  // namespace

double CodingError::rms() const {
  return elements == 0 ? 0 : std::sqrt(squares / static_cast<double>(elements));
}

double CodingError::relative() const {
  return squares == 0 ? 0 : std::sqrt(squares / weight_squares);
}

absl::StatusOr<CodingErrors> MeasureCoding(const shard_loader::Checkpoint& checkpoint,
                                           const shard_loader::WeightFormat& format, int threads) {
  if (!format.coded()) {
    return absl::InvalidArgumentError(
        absl::StrCat("worker: ", shard_loader::WeightFormatName(format),
                     " has no codes; give int8 or int4, with groups as in int4-g128"));
  }
  ASSIGN_OR_RETURN(auto plans, shard_loader::MakeRankPlans(checkpoint.spec(), {}));
  const shard_loader::PackedLayout layout =
      shard_loader::MakePackedLayout(checkpoint.spec(), plans[0], format);
  std::vector<CodingError> by_tensor(layout.tensors.size());
  Mutex mutex;
  const auto measure = [&](const HostTensor& given) -> absl::Status {
    const PackedTensor* tensor = layout.Find(given.id);
    if (tensor == nullptr || tensor->codes == shard_loader::Codes::kNone) return absl::OkStatus();
    if (given.coded != nullptr &&
        given.coded->groups != static_cast<int64_t>(tensor->groups.size()) - 1) {
      return absl::FailedPreconditionError(
          absl::StrCat("worker: weight '", shard_loader::TensorName(given.id),
                       "' comes in other blocks than it would be held in"));
    }
    const CodingError part = MeasureRows(*tensor, given);
    MutexLock lock(mutex);
    Add(part, by_tensor[tensor - layout.tensors.data()]);
    return absl::OkStatus();
  };
  shard_loader::LoadOptions options{.threads = threads, .part_bytes = kPartBytes};
  options.keep_codes = [&](shard_loader::TensorId id, shard_loader::StoredType blocks) {
    return shard_loader::HoldsBlocks(shard_loader::FormatOfRole(format, id.role), blocks);
  };
  RETURN_IF_ERROR(shard_loader::LoadShard(checkpoint, plans[0], measure, options).status());
  CodingErrors errors;
  errors.total.name = "all";
  errors.total.format = shard_loader::WeightFormatName(format);
  for (size_t i = 0; i < by_tensor.size(); ++i) {
    const PackedTensor& tensor = layout.tensors[i];
    if (tensor.codes == shard_loader::Codes::kNone) continue;
    CodingError& error = by_tensor[i];
    error.name = shard_loader::TensorName(tensor.id);
    error.format =
        shard_loader::WeightFormatName(shard_loader::FormatOfRole(format, tensor.id.role));
    Add(error, errors.total);
    errors.total.taken = false;
    errors.weights.push_back(std::move(error));
  }
  return errors;
}

}  // namespace tessera::worker
