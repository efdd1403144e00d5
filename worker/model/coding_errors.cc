#include "worker/model/coding_errors.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
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

using shard_loader::HostTensor;
using shard_loader::PackedTensor;

constexpr uint64_t kPartBytes = 1 << 20;  // read and coded at a time

// Some rows of a weight, each coded as a matrix of one row.
CodingError MeasureRows(const PackedTensor& tensor, const HostTensor& given) {
  const int64_t num_groups = static_cast<int64_t>(tensor.groups.size()) - 1;
  const int64_t bytes = shard_loader::MakeCodedTile(tensor.codes, tensor.columns, num_groups).bytes;
  std::vector<std::byte> tile(bytes);
  std::vector<float> values(tensor.columns), coded(tensor.columns);
  CodingError error;
  for (int64_t row = 0; row < given.rows.size(); ++row) {
    std::fill(tile.begin(), tile.end(), std::byte{0});
    const PackedMatrix matrix = {tile.data(),  tensor.dtype,         1,         tensor.columns,
                                 tensor.codes, tensor.groups.data(), num_groups};
    WidenElements(given.bytes.data() + row * tensor.columns * DTypeSize(given.dtype), given.dtype,
                  tensor.columns, values.data());
    PackCodedRow(matrix, 0, values.data(), tile.data());
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
    const CodingError part = MeasureRows(*tensor, given);
    MutexLock lock(mutex);
    Add(part, by_tensor[tensor - layout.tensors.data()]);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(shard_loader::LoadShard(checkpoint, plans[0], measure,
                                          {.threads = threads, .part_bytes = kPartBytes})
                      .status());
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
    errors.weights.push_back(std::move(error));
  }
  return errors;
}

}  // namespace tessera::worker
