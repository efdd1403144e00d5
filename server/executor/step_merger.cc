#include "server/executor/step_merger.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/executor/step_codec.h"

namespace tessera::server {

absl::StatusOr<std::optional<StepResult>> StepMerger::Add(int rank,
                                                          const internal::v1::StepResult& answer) {
  uint64_t index = answered_[rank]++ - merged_;
  if (index == pending_.size()) {
    pending_.push_back({.step = answer.step(), .ids_hash = answer.ids_hash(), .first_rank = rank});
    pending_.back().result.step = answer.step();
  }
  Pending& pending = pending_[index];
  if (answer.step() != pending.step) {
    return absl::InternalError(absl::StrCat("rank ", rank, " answered step ", answer.step(),
                                            " where rank ", pending.first_rank, " answered step ",
                                            pending.step));
  }
  if (answer.ids_hash() != pending.ids_hash) {
    return absl::InternalError(absl::StrFormat(
        "rank %d diverges: the tokens of step %d hash to %016x there and to %016x on rank %d", rank,
        answer.step(), answer.ids_hash(), pending.ids_hash, pending.first_rank));
  }
  if (answer.results_size() > 0) pending.result = FromProto(answer);
  if (++pending.answers < static_cast<int>(answered_.size())) return std::nullopt;
  StepResult result = std::move(pending.result);
  pending_.pop_front();
  ++merged_;
  return result;
}

}  // namespace tessera::server
