#include "worker/model/kv_slots.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

using shard_loader::UnnamedFile;

absl::Status OfTheFile(const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("worker: --kv-offload: ", status.message()));
}

absl::StatusOr<UnnamedFile> MakeFile(const std::string& folder, int64_t bytes) {
  absl::StatusOr<UnnamedFile> file = UnnamedFile::Create(folder);
  RETURN_IF_ERROR(OfTheFile(file.status()));
  RETURN_IF_ERROR(OfTheFile(file->Reserve(bytes)));
  return file;
}

}  // namespace

KvSlots::KvSlots(KvCache* cache, int64_t num_slots)
    : cache_(cache), block_bytes_(cache->block_bytes()), num_slots_(num_slots) {}

absl::StatusOr<std::unique_ptr<KvSlots>> KvSlots::Create(KvCache* cache, int64_t num_slots,
                                                         const std::string& folder) {
  std::unique_ptr<KvSlots> slots(new KvSlots(cache, num_slots));
  if (!folder.empty()) {
    ASSIGN_OR_RETURN(slots->file_, MakeFile(folder, slots->bytes()));
  }
  const int64_t bytes = folder.empty() ? slots->bytes() : slots->block_bytes_;
  ASSIGN_OR_RETURN(slots->memory_, Buffer::Allocate(bytes, "the slots of --kv-offload"));
  return slots;
}

absl::Status KvSlots::Spill(int64_t block, int64_t slot) {
  if (!file_) {
    cache_->CopyBlockOut(block, memory_.data() + slot * block_bytes_);
    under_way_ = true;
    return absl::OkStatus();
  }
  cache_->CopyBlockOut(block, memory_.data());
  RETURN_IF_ERROR(cache_->memory().Finish());
  const auto contents = absl::MakeConstSpan(memory_.data(), static_cast<size_t>(block_bytes_));
  return OfTheFile(file_->Write(contents, slot * block_bytes_));
}

absl::Status KvSlots::Fetch(int64_t slot, int64_t block) {
  if (!file_) {
    if (std::exchange(under_way_, false)) RETURN_IF_ERROR(cache_->memory().Finish());
    cache_->CopyBlockIn(memory_.data() + slot * block_bytes_, block);
    return absl::OkStatus();
  }
  const auto contents = absl::MakeSpan(memory_.data(), static_cast<size_t>(block_bytes_));
  RETURN_IF_ERROR(OfTheFile(file_->Read(slot * block_bytes_, contents)));
  cache_->CopyBlockIn(memory_.data(), block);
  return absl::OkStatus();
}

absl::StatusOr<absl::Duration> KvSlots::MeasureFetch() {
  constexpr int kTimes = 5;
  absl::Duration best = absl::InfiniteDuration();
  RETURN_IF_ERROR(Spill(0, 0));
  RETURN_IF_ERROR(cache_->memory().Finish());
  for (int i = 0; i < kTimes; ++i) {
    const absl::Time begin = absl::Now();
    RETURN_IF_ERROR(Fetch(0, 0));
    RETURN_IF_ERROR(cache_->memory().Finish());
    best = std::min(best, absl::Now() - begin);
  }
  return std::max(best, absl::Nanoseconds(1));
}

}  // namespace tessera::worker
