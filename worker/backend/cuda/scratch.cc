#include "worker/backend/cuda/scratch.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker::cuda {
namespace {

absl::Status NotPlanned(absl::string_view what, int64_t bytes, int64_t planned) {
  return absl::InternalError(
      absl::StrCat("cuda: ", what, ": ", bytes, " bytes are needed, ", planned, " were planned"));
}

}  // namespace

absl::Status Scratch::Resize(int64_t bytes) {
  RETURN_IF_ERROR(memory_.Finish());
  buffer_ = Buffer();
  ASSIGN_OR_RETURN(buffer_, memory_.Allocate(bytes, what_));
  ++*moves_;
  return absl::OkStatus();
}

absl::Status Scratch::Reserve(int64_t bytes) {
  reserved_ = true;
  return Resize(bytes);
}

absl::StatusOr<std::byte*> Scratch::Get(int64_t bytes) {
  if (bytes > buffer_.size()) {
    if (reserved_) return NotPlanned(what_, bytes, buffer_.size());
    RETURN_IF_ERROR(Resize(std::max(bytes, buffer_.size() + buffer_.size() / 2)));
  }
  return buffer_.data();
}

absl::Status Constants::Reserve(int64_t bytes) {
  ASSIGN_OR_RETURN(reserved_, memory_.Allocate(bytes, "constants of the model"));
  return absl::OkStatus();
}

absl::StatusOr<const void*> Constants::Get(const void* data, int64_t bytes) {
  for (const Entry& entry : entries_) {
    if (static_cast<int64_t>(entry.host.size()) == bytes &&
        std::memcmp(entry.host.data(), data, static_cast<size_t>(bytes)) == 0) {
      return entry.device;
    }
  }
  Entry entry;
  const std::byte* first = static_cast<const std::byte*>(data);
  entry.host.assign(first, first + bytes);
  std::byte* to = nullptr;
  if (reserved_.size() == 0) {
    ASSIGN_OR_RETURN(entry.own, memory_.Allocate(bytes, "constants of the model"));
    to = entry.own.data();
  } else {
    const int64_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (used_ + padded > reserved_.size()) {
      return NotPlanned("constants of the model", used_ + padded, reserved_.size());
    }
    to = reserved_.data() + used_;
    used_ += padded;
  }
  memory_.CopyIn(data, bytes, to);
  entry.device = to;
  entries_.push_back(std::move(entry));
  return to;
}

}  // namespace tessera::worker::cuda
