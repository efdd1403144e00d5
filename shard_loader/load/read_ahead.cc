#include "shard_loader/load/read_ahead.h"

#include <utility>

namespace tessera::shard_loader {
namespace {

constexpr size_t kMostOpenFiles = 64;
constexpr uint64_t kMostHintBytes = 4 * ReadAhead::kMostBytes;

}  // namespace

ReadAhead::ReadAhead(const Checkpoint& checkpoint, std::vector<Stretch> stretches,
                     std::function<bool()> cancelled)
    : checkpoint_(checkpoint),
      stretches_(std::move(stretches)),
      cancelled_(std::move(cancelled)),
      turns_(stretches_.size()) {
  for (size_t i = 0; i < stretches_.size(); ++i) turns_[i].parts_left = stretches_[i].parts;
  for (size_t i = 0; i < buffers_.size(); ++i) free_.push_back(i);
  thread_ = std::thread([this] { Run(); });
}

ReadAhead::~ReadAhead() {
  Stop();
  thread_.join();
}

FetchedBytes ReadAhead::Take(size_t stretch) {
  MutexLock lock(mutex_);
  while (!turns_[stretch].had && !stopped_) changed_.Wait(mutex_);
  return turns_[stretch].fetched;
}

void ReadAhead::GiveBack(size_t stretch) {
  MutexLock lock(mutex_);
  Turn& turn = turns_[stretch];
  if (--turn.parts_left > 0 || !turn.had) return;
  free_.push_back(turn.buffer);
  changed_.NotifyAll();
}

void ReadAhead::Stop() {
  MutexLock lock(mutex_);
  stopped_ = true;
  changed_.NotifyAll();
}

void ReadAhead::Run() {
  for (size_t i = 0; i < stretches_.size(); ++i) {
    size_t buffer = 0;
    if (!WaitForBuffer(&buffer)) return;
    if (cancelled_()) return Stop();
    const FetchedBytes fetched = Fetch(stretches_[i], buffers_[buffer]);
    MutexLock lock(mutex_);
    if (stopped_) return;
    turns_[i].had = true;
    turns_[i].buffer = buffer;
    turns_[i].fetched = fetched;
    changed_.NotifyAll();
  }
}

// False where it was stopped.
bool ReadAhead::WaitForBuffer(size_t* buffer) {
  MutexLock lock(mutex_);
  while (free_.empty() && !stopped_) changed_.Wait(mutex_);
  if (stopped_) return false;
  *buffer = free_.back();
  free_.pop_back();
  return true;
}

FetchedBytes ReadAhead::Fetch(const Stretch& stretch, DirectBuffer& buffer) {
  const uint64_t bytes = stretch.bytes();
  if (stretch.whole && bytes >= kLeastBytes && bytes <= kMostBytes) {
    const FileSpan& span = stretch.spans[0];
    const DirectFile* const file = Open(span.file);
    if (file != nullptr && !file->Cached(span.begin, bytes)) {
      const absl::Span<const std::byte> got = file->Read(span.begin, bytes, buffer);
      if (!got.empty()) return {span.file, span.begin, got};
    }
  }
  if (bytes > kMostHintBytes) return {};
  for (const FileSpan& span : stretch.spans) {
    const DirectFile* const file = Open(span.file);
    if (file != nullptr) file->Prefetch(span.begin, span.bytes());
  }
  return {};
}

// Null where there is none, or not the one that the checkpoint was opened with.
const DirectFile* ReadAhead::Open(int index) {
  auto found = files_.find(index);
  if (found == files_.end()) {
    const CheckpointFile& info = checkpoint_.files()[index];
    std::optional<DirectFile> file;
    if (!info.inlined) file = DirectFile::Open(checkpoint_.folder() / info.name);
    if (file && file->size() != info.size) file.reset();
    if (files_.size() == kMostOpenFiles) files_.clear();
    found = files_.emplace(index, std::move(file)).first;
  }
  return found->second ? &*found->second : nullptr;
}

}  // namespace tessera::shard_loader
