#include "server/text/split.h"

#include "absl/strings/str_cat.h"

namespace tessera::server {

absl::StatusOr<SplitBehavior> ParseSplitBehavior(std::string_view name) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: the split behavior '",
                                                 absl::string_view(name.data(), name.size()),
                                                 "' is not known"));
}

void Splitter::Segment(size_t begin, size_t end, bool is_match) {
  const bool after_match = previous_match_;
  previous_match_ = is_match;
  switch (behavior_) {
    case SplitBehavior::kRemoved:
      if (!is_match) Emit(begin, end);
      return;
    case SplitBehavior::kIsolated:
      Emit(begin, end);
      return;
    case SplitBehavior::kContiguous:
      if (pending_ && is_match == after_match) {
        pending_end_ = end;
        return;
      }
      break;
    case SplitBehavior::kMergedWithPrevious:
      if (pending_ && is_match && !after_match) {
        pending_end_ = end;
        return;
      }
      break;
    case SplitBehavior::kMergedWithNext:
      if (pending_ && after_match && !is_match) {
        pending_end_ = end;
        return;
      }
      break;
  }
  EmitPending();
  pending_ = true;
  pending_begin_ = begin;
  pending_end_ = end;
}

absl::Status Splitter::Finish() {
  if (position_ < in_.text.size()) Segment(position_, in_.text.size(), invert_);
  EmitPending();
  return status_;
}

}  // namespace tessera::server
