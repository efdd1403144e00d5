#include "worker/model/staged_communicator.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(Communicator* host, Memory* memory) : host_(host), memory_(memory) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }

  absl::Status AllGather(absl::Span<const std::byte> send,
                         absl::Span<const absl::Span<std::byte>> recv) override {
    std::vector<absl::Span<std::byte>> to = Place(recv, send.size());
    const absl::Span<std::byte> from = absl::MakeSpan(bytes_).last(send.size());
    RETURN_IF_ERROR(Out(send, from));
    RETURN_IF_ERROR(host_->AllGather(from, to));
    return In(to, recv);
  }

  absl::Status AllToAll(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> recv) override {
    size_t all = 0;
    for (absl::Span<const std::byte> each : send) all += each.size();
    std::vector<absl::Span<std::byte>> to = Place(recv, all);
    absl::Span<std::byte> rest = absl::MakeSpan(bytes_).last(all);
    std::vector<absl::Span<const std::byte>> from;
    for (absl::Span<const std::byte> each : send) {
      memory_->CopyOut(each.data(), static_cast<int64_t>(each.size()), rest.data());
      from.push_back(rest.first(each.size()));
      rest.remove_prefix(each.size());
    }
    RETURN_IF_ERROR(memory_->Finish());
    RETURN_IF_ERROR(host_->AllToAll(from, to));
    return In(to, recv);
  }

  absl::Status Send(int peer, uint64_t tag, absl::Span<const std::byte> bytes) override {
    bytes_.resize(bytes.size());
    RETURN_IF_ERROR(Out(bytes, absl::MakeSpan(bytes_)));
    return host_->Send(peer, tag, bytes_);
  }

  absl::Status Recv(int peer, uint64_t tag, absl::Span<std::byte> bytes) override {
    bytes_.resize(bytes.size());
    RETURN_IF_ERROR(host_->Recv(peer, tag, absl::MakeSpan(bytes_)));
    memory_->CopyIn(bytes_.data(), static_cast<int64_t>(bytes.size()), bytes.data());
    return absl::OkStatus();
  }

  absl::Status Barrier() override {
    RETURN_IF_ERROR(memory_->Finish());
    return host_->Barrier();
  }
  void Abort(absl::Status why) override { host_->Abort(std::move(why)); }

 private:
  // Room on the host for what comes, and behind it for `more` bytes.
  std::vector<absl::Span<std::byte>> Place(absl::Span<const absl::Span<std::byte>> recv,
                                           size_t more) {
    size_t all = 0;
    for (absl::Span<std::byte> each : recv) all += each.size();
    bytes_.resize(all + more);
    std::vector<absl::Span<std::byte>> places;
    size_t next = 0;
    for (absl::Span<std::byte> each : recv) {
      places.push_back(absl::MakeSpan(bytes_).subspan(next, each.size()));
      next += each.size();
    }
    return places;
  }

  absl::Status Out(absl::Span<const std::byte> from, absl::Span<std::byte> to) {
    memory_->CopyOut(from.data(), static_cast<int64_t>(from.size()), to.data());
    return memory_->Finish();
  }

  absl::Status In(absl::Span<const absl::Span<std::byte>> from,
                  absl::Span<const absl::Span<std::byte>> to) {
    for (size_t i = 0; i < to.size(); ++i) {
      memory_->CopyIn(from[i].data(), static_cast<int64_t>(to[i].size()), to[i].data());
    }
    return absl::OkStatus();
  }

  Communicator* const host_;
  Memory* const memory_;
  std::vector<std::byte> bytes_;
};

}  // namespace

std::unique_ptr<Communicator> StageThroughHost(Communicator* host, Memory* memory) {
  return std::make_unique<StagedCommunicator>(host, memory);
}

}  // namespace tessera::worker
