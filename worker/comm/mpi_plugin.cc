// libtessera_mpi.so: byte pipes over MPI. MPI is asked only for what never waits: non-blocking
// sends and receives, and tests of them.
#include "worker/comm/mpi_plugin.h"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr int kFrameBytes = 64 << 10;  // of one MPI message
constexpr int kSlots = 4;  // MPI messages of a pipe in flight, the one being filled included

// One direction of a pipe. Messages in flight form a queue, so that they arrive in order; what is
// written while all others are in flight is gathered in one message.
struct OutPipe {
  struct Slot {
    std::vector<char> bytes;
    int filled = 0;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  std::array<Slot, kSlots> slots;
  int filling = 0;  // the slot that takes bytes

  bool Started() const { return !slots[0].bytes.empty(); }
};

struct InPipe {
  std::vector<char> bytes;
  MPI_Request request = MPI_REQUEST_NULL;
  int filled = 0;
  int taken = 0;
};

enum class Joining { kInit, kDup, kRanks, kJoined, kFailed };

// The process has one world, and one group in it at a time.
struct World {
  std::atomic<int> init{0};  // 0: not asked, 1: running, 2: done, -1: failed
  bool duplicated = false;
  MPI_Comm comm = MPI_COMM_NULL;
  std::atomic<bool> broken{false};

  Joining joining = Joining::kFailed;
  MPI_Request request = MPI_REQUEST_NULL;
  int rank = 0;
  int ranks = 0;
  int streams = 0;
  int epoch = 0;  // groups so far: part of the tags
  std::array<int, 4> own_claim = {};
  std::vector<std::array<int, 4>> claims;  // {rank, ranks, streams, epoch} by number in the world
  std::vector<int> world_rank;             // index: rank
  std::vector<OutPipe> out;                // index: peer * streams + stream
  std::vector<InPipe> in;
};

World& world() {
  static auto* instance = new World;
  return *instance;
}

// MPI_Finalize waits for the other ranks, which leave in order as well; where the group failed,
// mpirun ends the world when this process goes without it.
void FinalizeAtExit() {
  if (world().init.load() == 2 && !world().broken.load()) MPI_Finalize();
}

int Fail(char* error, size_t error_bytes, const char* text) {
  std::snprintf(error, error_bytes, "%s", text);
  world().joining = Joining::kFailed;
  return -1;
}

// MPI_Init waits for all ranks of the world; a thread does it, so that joining keeps its deadline.
void InitInBackground() {
  World& w = world();
  w.init.store(1);
  std::thread([&w] {
    int have = 0;
    const int result = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &have);
    const bool good = result == MPI_SUCCESS && have >= MPI_THREAD_SERIALIZED;
    if (good) std::atexit(FinalizeAtExit);
    w.init.store(good ? 2 : -1);
  }).detach();
}

int Tag(int stream) {
  // MPI promises tags up to 32,767; a message of an epoch that long ago is not on its way any more.
  return (world().epoch * world().streams + stream) % 32768;
}

int Start(int rank, int ranks, int streams, char* error, size_t error_bytes) {
  World& w = world();
  if (w.broken.load()) {
    return Fail(error, error_bytes, "the world is broken; start all ranks again with mpirun");
  }
  w.rank = rank;
  w.ranks = ranks;
  w.streams = streams;
  ++w.epoch;
  w.out = std::vector<OutPipe>(ranks * streams);
  w.in = std::vector<InPipe>(ranks * streams);
  w.joining = Joining::kInit;
  if (w.init.load() == 0) InitInBackground();
  return 0;
}

// The world's communicator is copied once, so that our tags meet nobody else's.
int BeginDup(char* error, size_t error_bytes) {
  World& w = world();
  w.joining = Joining::kDup;
  if (w.duplicated) return 0;
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size != w.ranks) {
    char text[200];
    std::snprintf(text, sizeof(text),
                  "the MPI world has %d ranks, the group %d: start the workers with mpirun -n %d",
                  size, w.ranks, w.ranks);
    return Fail(error, error_bytes, text);
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (MPI_Comm_idup(MPI_COMM_WORLD, &w.comm, &w.request) != MPI_SUCCESS) {
    return Fail(error, error_bytes, "MPI_Comm_idup failed");
  }
  return 0;
}

int BeginRanks(char* error, size_t error_bytes) {
  World& w = world();
  w.duplicated = true;
  w.joining = Joining::kRanks;
  MPI_Comm_set_errhandler(w.comm, MPI_ERRORS_RETURN);
  w.own_claim = {w.rank, w.ranks, w.streams, w.epoch};
  w.claims.resize(w.ranks);
  if (MPI_Iallgather(w.own_claim.data(), 4, MPI_INT, w.claims.data(), 4, MPI_INT, w.comm,
                     &w.request) != MPI_SUCCESS) {
    return Fail(error, error_bytes, "MPI_Iallgather failed");
  }
  return 0;
}

int TakeRanks(char* error, size_t error_bytes) {
  World& w = world();
  w.world_rank.assign(w.ranks, -1);
  for (int i = 0; i < w.ranks; ++i) {
    const auto& [rank, ranks, streams, epoch] = w.claims[i];
    if (ranks != w.ranks || streams != w.streams || epoch != w.epoch || rank < 0 ||
        rank >= w.ranks || w.world_rank[rank] != -1) {
      char text[200];
      std::snprintf(text, sizeof(text),
                    "process %d of the MPI world joins as rank %d of %d for the %d. time, this one "
                    "as rank %d of %d for the %d. time",
                    i, rank, ranks, epoch, w.rank, w.ranks, w.epoch);
      return Fail(error, error_bytes, text);
    }
    w.world_rank[rank] = i;
  }
  w.joining = Joining::kJoined;
  return 1;
}

int Join(char* error, size_t error_bytes) {
  World& w = world();
  int done = 0;
  switch (w.joining) {
    case Joining::kInit:
      if (w.init.load() < 0) return Fail(error, error_bytes, "MPI_Init_thread failed");
      if (w.init.load() != 2) return 0;
      return BeginDup(error, error_bytes);
    case Joining::kDup:
      // A request that is not there counts as done.
      if (MPI_Test(&w.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
        return Fail(error, error_bytes, "MPI_Comm_idup failed");
      }
      return done ? BeginRanks(error, error_bytes) : 0;
    case Joining::kRanks:
      if (MPI_Test(&w.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
        return Fail(error, error_bytes, "MPI_Iallgather failed");
      }
      return done ? TakeRanks(error, error_bytes) : 0;
    case Joining::kJoined:
      return 1;
    case Joining::kFailed:
      break;
  }
  return Fail(error, error_bytes, "joining has failed before");
}

// True when the slot is free; -1 where MPI failed.
int SlotFree(OutPipe::Slot& slot) {
  if (slot.request == MPI_REQUEST_NULL) return 1;
  int done = 0;
  if (MPI_Test(&slot.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return -1;
  if (done) slot.filled = 0;
  return done;
}

// Sends what the filling slot holds if the next slot is free to be filled.
int Flush(OutPipe& pipe, int peer, int stream) {
  OutPipe::Slot& slot = pipe.slots[pipe.filling];
  if (slot.filled == 0) return 0;
  const int next = (pipe.filling + 1) % kSlots;
  const int free = SlotFree(pipe.slots[next]);
  if (free <= 0) return free;
  if (MPI_Isend(slot.bytes.data(), slot.filled, MPI_BYTE, world().world_rank[peer], Tag(stream),
                world().comm, &slot.request) != MPI_SUCCESS) {
    return -1;
  }
  pipe.filling = next;
  return 1;
}

// Bytes that wait in a filling slot go on their way with any call.
int FlushAll() {
  World& w = world();
  for (int i = 0; i < static_cast<int>(w.out.size()); ++i) {
    if (!w.out[i].Started()) continue;
    if (Flush(w.out[i], i / w.streams, i % w.streams) < 0) return -1;
  }
  return 0;
}

int64_t TryWrite(int peer, int stream, const void* bytes, size_t count) {
  OutPipe& pipe = world().out[peer * world().streams + stream];
  if (!pipe.Started()) {
    for (auto& slot : pipe.slots) slot.bytes.resize(kFrameBytes);
  }
  if (FlushAll() < 0) return -1;
  size_t taken = 0;
  while (taken < count) {
    OutPipe::Slot& slot = pipe.slots[pipe.filling];
    const int n = static_cast<int>(std::min<size_t>(count - taken, kFrameBytes - slot.filled));
    if (n == 0) break;
    std::memcpy(slot.bytes.data() + slot.filled, static_cast<const char*>(bytes) + taken, n);
    slot.filled += n;
    taken += n;
    if (Flush(pipe, peer, stream) < 0) return -1;
  }
  return taken;
}

int64_t TryRead(int peer, int stream, void* bytes, size_t count) {
  World& w = world();
  if (FlushAll() < 0) return -1;
  InPipe& pipe = w.in[peer * w.streams + stream];
  if (pipe.bytes.empty()) pipe.bytes.resize(kFrameBytes);
  if (pipe.taken == pipe.filled) {
    if (pipe.request == MPI_REQUEST_NULL &&
        MPI_Irecv(pipe.bytes.data(), kFrameBytes, MPI_BYTE, w.world_rank[peer], Tag(stream), w.comm,
                  &pipe.request) != MPI_SUCCESS) {
      return -1;
    }
    int done = 0;
    MPI_Status status;
    if (MPI_Test(&pipe.request, &done, &status) != MPI_SUCCESS) return -1;
    if (!done) return 0;
    pipe.taken = 0;
    if (MPI_Get_count(&status, MPI_BYTE, &pipe.filled) != MPI_SUCCESS || pipe.filled < 0) return -1;
  }
  const size_t n = std::min<size_t>(count, pipe.filled - pipe.taken);
  std::memcpy(bytes, pipe.bytes.data() + pipe.taken, n);
  pipe.taken += static_cast<int>(n);
  return n;
}

int Leave(int broken) {
  World& w = world();
  if (broken) {
    w.broken.store(true);
    return 0;
  }
  if (w.joining != Joining::kJoined) return 0;
  if (FlushAll() < 0) return 0;
  for (OutPipe& pipe : w.out) {
    for (auto& slot : pipe.slots) {
      if (slot.filled > 0 && SlotFree(slot) == 0) return 1;
    }
    if (pipe.Started() && pipe.slots[pipe.filling].filled > 0) return 1;
  }
  for (InPipe& pipe : w.in) {
    if (pipe.request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&pipe.request);
    MPI_Wait(&pipe.request, MPI_STATUS_IGNORE);  // local, once cancelled
  }
  w.joining = Joining::kFailed;
  return 0;
}

const TesseraMpiPlugin kPlugin = {
    TESSERA_MPI_PLUGIN_VERSION, sizeof(TesseraMpiPlugin), Start, Join, TryWrite, TryRead, Leave};

}  // namespace

extern "C" __attribute__((visibility("default"))) const TesseraMpiPlugin* tessera_mpi_plugin(void) {
  return &kPlugin;
}
