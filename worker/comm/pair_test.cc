#include "worker/comm/pair_test.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

using std::chrono::steady_clock;
using Bytes = std::vector<std::byte>;

constexpr uint64_t kSmallTag = 0x7061697201;
constexpr uint64_t kLargeTag = 0x7061697202;

double MicrosecondsSince(steady_clock::time_point start) {
  return std::chrono::duration<double, std::micro>(steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Bytes that depend on their place and on who sends them.
void Fill(int from, int round, Bytes& bytes) {
  uint32_t state = 2654435761u * static_cast<uint32_t>(from * 8191 + round + 1);
  for (std::byte& byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<std::byte>(state >> 24);
  }
}

// One pair, from the side of `comm`'s rank; `first` sends first.
class Pair {
 public:
  Pair(Communicator& comm, int peer, const PairTestOptions& options, Memory& memory)
      : comm_(comm), peer_(peer), first_(comm.rank() < peer), options_(options), memory_(memory) {}

  absl::Status Run(PairTiming& timing) {
    std::vector<double> times;
    RETURN_IF_ERROR(Exchange(kSmallTag, options_.small_bytes, options_.round_trips, times));
    timing.latency_us = Median(times) / 2;
    times.clear();
    // The first large message also wakes up what the system does lazily; the second is counted.
    RETURN_IF_ERROR(Exchange(kLargeTag, options_.large_bytes, 2, times));
    timing.bandwidth_mb_s = 2.0 * options_.large_bytes / std::max(times.back(), 1e-3);
    return absl::OkStatus();
  }

 private:
  // Round trips, timed; checking is left out of the time.
  absl::Status Exchange(uint64_t tag, size_t size, int rounds, std::vector<double>& times) {
    const auto count = static_cast<int64_t>(size);
    ASSIGN_OR_RETURN(Buffer out, memory_.Allocate(count, "a test of a pair"));
    ASSIGN_OR_RETURN(Buffer in, memory_.Allocate(count, "a test of a pair"));
    const absl::Span<std::byte> sent(out.data(), size);
    const absl::Span<std::byte> received(in.data(), size);
    Bytes own(size), found(size), expected(size);
    for (int round = 0; round < rounds; ++round) {
      Fill(comm_.rank(), round, own);
      Fill(peer_, round, expected);
      memory_.CopyIn(own.data(), count, out.data());
      RETURN_IF_ERROR(memory_.Finish());
      const auto start = steady_clock::now();
      if (first_) RETURN_IF_ERROR(comm_.Send(peer_, tag, sent));
      RETURN_IF_ERROR(comm_.Recv(peer_, tag, received));
      if (!first_) RETURN_IF_ERROR(comm_.Send(peer_, tag, sent));
      RETURN_IF_ERROR(memory_.Finish());
      times.push_back(MicrosecondsSince(start));
      memory_.CopyOut(in.data(), count, found.data());
      RETURN_IF_ERROR(memory_.Finish());
      if (found == expected) continue;
      return absl::DataLossError(
          absl::StrCat("comm: ", size, " bytes from rank ", peer_, " to rank ", comm_.rank(),
                       " arrived changed; do not serve over this connection"));
    }
    return absl::OkStatus();
  }

  Communicator& comm_;
  const int peer_;
  const bool first_;
  const PairTestOptions& options_;
  Memory& memory_;
};

// Every rank gets what rank `from` says of a pair.
absl::StatusOr<PairTiming> Tell(Communicator& comm, int from, const PairTiming& timing,
                                Memory& memory) {
  constexpr int64_t kBytes = sizeof(PairTiming);
  ASSIGN_OR_RETURN(Buffer room, memory.Allocate(kBytes, "a test of a pair"));
  if (comm.rank() == from) memory.CopyIn(&timing, kBytes, room.data());
  RETURN_IF_ERROR(memory.Finish());
  std::vector<absl::Span<std::byte>> recv(comm.size());
  recv[from] = {room.data(), kBytes};
  const size_t bytes = comm.rank() == from ? kBytes : 0;
  RETURN_IF_ERROR(comm.AllGather({room.data(), bytes}, recv));
  PairTiming told;
  memory.CopyOut(room.data(), kBytes, &told);
  RETURN_IF_ERROR(memory.Finish());
  return told;
}

absl::Status NamePair(const absl::Status& status, int a, int b) {
  return absl::Status(status.code(),
                      absl::StrCat("comm: pair of ranks ", a, " and ", b, ": ", status.message()));
}

}  // namespace

absl::StatusOr<std::vector<PairTiming>> TestPairs(Communicator& comm,
                                                  const PairTestOptions& options, Memory& memory) {
  std::vector<PairTiming> timings;
  for (int a = 0; a < comm.size(); ++a) {
    for (int b = a + 1; b < comm.size(); ++b) {
      PairTiming timing{a, b};
      if (comm.rank() == a || comm.rank() == b) {
        const int peer = comm.rank() == a ? b : a;
        const absl::Status status = Pair(comm, peer, options, memory).Run(timing);
        if (!status.ok()) return NamePair(status, a, b);
      }
      // The first of the pair tells its timing, which also keeps the pairs from overlapping.
      const absl::StatusOr<PairTiming> told = Tell(comm, a, timing, memory);
      if (!told.ok()) return NamePair(told.status(), a, b);
      timings.push_back(*told);
    }
  }
  return timings;
}

std::vector<std::string> SlowPairs(absl::Span<const PairTiming> timings, double slow_factor) {
  std::vector<double> latencies, bandwidths;
  for (const PairTiming& timing : timings) {
    latencies.push_back(timing.latency_us);
    bandwidths.push_back(timing.bandwidth_mb_s);
  }
  const double latency = Median(latencies);
  const double bandwidth = Median(bandwidths);
  std::vector<std::string> slow;
  for (const PairTiming& timing : timings) {
    if (timing.latency_us > slow_factor * latency) {
      slow.push_back(
          absl::StrFormat("ranks %d and %d: latency %.1f us, the median pair has %.1f us", timing.a,
                          timing.b, timing.latency_us, latency));
    }
    if (timing.bandwidth_mb_s * slow_factor < bandwidth) {
      slow.push_back(
          absl::StrFormat("ranks %d and %d: bandwidth %.0f MB/s, the median pair has %.0f MB/s",
                          timing.a, timing.b, timing.bandwidth_mb_s, bandwidth));
    }
  }
  return slow;
}

}  // namespace tessera::worker
