#include "server/executor/step_merger.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/rpc/error_site.h"
#include "server/executor/step_codec.h"

namespace tessera::server {

absl::Status StepMerger::Diverges(const RankHash& rank, const RankHash& first, const char* what,
                                  uint64_t step) {
  absl::Status status = absl::InternalError(absl::StrFormat(
      "rank %d diverges: the %s of step %d hashes to %016x there and to %016x on rank %d",
      rank.rank, what, step, rank.hash, first.hash, first.rank));
  rpc::SetErrorSite(status, {.rank = static_cast<uint32_t>(rank.rank)});
  return status;
}

absl::StatusOr<std::optional<StepResult>> StepMerger::Add(int rank,
                                                          const internal::v1::StepResult& answer) {
  uint64_t index = answered_[rank]++ - merged_;
  if (index == pending_.size()) {
    pending_.push_back({.step = answer.step(), .ids_hash = answer.ids_hash(), .first_rank = rank});
  }
  Pending& pending = pending_[index];
  if (answer.step() != pending.step) {
    return absl::InternalError(absl::StrCat("rank ", rank, " answered step ", answer.step(),
                                            " where rank ", pending.first_rank, " answered step ",
                                            pending.step));
  }
  if (answer.ids_hash() != pending.ids_hash) {
    return Diverges({rank, answer.ids_hash()}, {pending.first_rank, pending.ids_hash}, "tokens",
                    answer.step());
  }
  if (answer.residual_hash() != 0) {
    auto [stage, added] =
        pending.residuals.try_emplace(rank / tp_, RankHash{rank, answer.residual_hash()});
    if (stage->second.hash != answer.residual_hash()) {
      return Diverges({rank, answer.residual_hash()}, stage->second, "residual stream",
                      answer.step());
    }
  }
  ++pending.answers;
  while (!pending_.empty() && pending_.front().answers == static_cast<int>(answered_.size())) {
    pending_.pop_front();
    ++merged_;
  }
  if (rank != drawing_rank_) return std::nullopt;
  return FromProto(answer);
}

}  // namespace tessera::server
