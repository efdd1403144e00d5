#include "client/lib/collect.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::client {
namespace {

// Far above any n or beam width that a server accepts.
constexpr uint32_t kMaxSequences = 4096;

template <typename T>
void MoveBack(std::vector<T>& from, std::vector<T>& to) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

absl::StatusOr<Sequence*> At(uint32_t index, Completion& completion) {
  if (index >= kMaxSequences) {
    return absl::InternalError(absl::StrCat("the server sent a sequence with index ", index));
  }
  if (completion.sequences.size() <= index) completion.sequences.resize(index + 1);
  return &completion.sequences[index];
}

}  // namespace

absl::Status Append(GenerateEvent event, Completion& completion) {
  if (!event.request_id.empty()) completion.request_id = std::move(event.request_id);
  if (auto* accepted = std::get_if<Accepted>(&event.event)) {
    completion.accepted = std::move(*accepted);
  } else if (auto* delta = std::get_if<Delta>(&event.event)) {
    ASSIGN_OR_RETURN(Sequence * sequence, At(delta->index, completion));
    sequence->text += delta->text;
    MoveBack(delta->token_ids, sequence->token_ids);
    MoveBack(delta->logprobs, sequence->logprobs);
  } else if (auto* finished = std::get_if<Finished>(&event.event)) {
    ASSIGN_OR_RETURN(Sequence * sequence, At(finished->index, completion));
    sequence->finished = std::move(*finished);
  }
  return absl::OkStatus();
}

absl::StatusOr<Completion> Collect(Stream<GenerateEvent>& stream) {
  Completion completion;
  while (true) {
    ASSIGN_OR_RETURN(std::optional<GenerateEvent> event, stream.Next());
    if (!event) return completion;
    RETURN_IF_ERROR(Append(*std::move(event), completion));
  }
}

}  // namespace tessera::client
