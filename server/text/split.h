// Cutting a text at the matches of a pattern.
#ifndef TESSERA_SERVER_TEXT_SPLIT_H_
#define TESSERA_SERVER_TEXT_SPLIT_H_

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/text/aligned_text.h"
#include "server/text/pre_tokenizer.h"

namespace tessera::server {

// What becomes of the matches ("the-final--countdown", cut at '-'):
enum class SplitBehavior {
  kRemoved,             // the final countdown
  kIsolated,            // the - final - - countdown
  kMergedWithPrevious,  // the- final- - countdown
  kMergedWithNext,      // the -final - -countdown
  kContiguous           // the - final -- countdown
};
absl::StatusOr<SplitBehavior> ParseSplitBehavior(std::string_view name);

// Takes the matches of a text from left to right and hands out the words.
class Splitter {
 public:
  Splitter(const TextView& in, SplitBehavior behavior, bool invert, WordSink sink)
      : in_(in), behavior_(behavior), invert_(invert), sink_(sink) {}

  // A match [begin, end) behind the last one.
  void Match(size_t begin, size_t end) {
    if (begin > position_) Segment(position_, begin, invert_);
    Segment(begin, end, !invert_);
    position_ = end;
  }
  // The rest of the text; the first error of the sink.
  absl::Status Finish();

 private:
  void Segment(size_t begin, size_t end, bool is_match);
  void Emit(size_t begin, size_t end) {
    if (begin < end && status_.ok()) status_ = sink_(in_.Slice(begin, end));
  }
  void EmitPending() {
    if (pending_) Emit(pending_begin_, pending_end_);
    pending_ = false;
  }

  const TextView& in_;
  SplitBehavior behavior_;
  bool invert_;
  WordSink sink_;
  size_t position_ = 0;
  // The word that may still grow.
  bool pending_ = false;
  size_t pending_begin_ = 0, pending_end_ = 0;
  bool previous_match_ = false;
  absl::Status status_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_SPLIT_H_
