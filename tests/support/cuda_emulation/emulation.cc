#include <cuda_runtime.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>

namespace tessera::tests {
namespace {

constexpr size_t kStackBytes = 64 << 10;
constexpr int kLaneBytes = 64;

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<std::byte[]> stack;
  State state = State::kReady;
  dim3 index;
};

// The block that runs on this host thread.
struct Block {
  std::vector<Fiber> fibers;
  std::vector<std::byte> lanes;  // kLaneBytes of every thread
  std::unique_ptr<std::byte[]> shared;
  const std::function<void()>* thread = nullptr;
  ucontext_t scheduler;
  Fiber* running = nullptr;
};

thread_local Block block;
uint64_t shuffle_seed = 0;

void Enter() {
  (*block.thread)();
  block.running->state = State::kDone;
  swapcontext(&block.running->context, &block.scheduler);
}

void Pause(State state) {
  Fiber* self = block.running;
  self->state = state;
  swapcontext(&self->context, &block.scheduler);
  block.running = self;
  threadIdx = self->index;
}

// Lets go of warps and of the block whose threads have all arrived. False: nobody can go on.
bool Release() {
  const size_t count = block.fibers.size();
  bool any = false;
  size_t at_block = 0, done = 0;
  for (size_t warp = 0; warp < count; warp += 32) {
    const size_t end = std::min(warp + 32, count);
    size_t waiting = 0;
    for (size_t i = warp; i < end; ++i) waiting += block.fibers[i].state == State::kAtWarpBarrier;
    if (waiting == 32) {
      for (size_t i = warp; i < end; ++i) block.fibers[i].state = State::kReady;
      any = true;
    }
  }
  for (const Fiber& fiber : block.fibers) {
    at_block += fiber.state == State::kAtBlockBarrier;
    done += fiber.state == State::kDone;
  }
  if (!any && at_block > 0 && at_block + done == count) {
    for (Fiber& fiber : block.fibers) {
      if (fiber.state == State::kAtBlockBarrier) fiber.state = State::kReady;
    }
    any = true;
  }
  return any;
}

void RunBlock(uint64_t* random) {
  const size_t count = block.fibers.size();
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  for (;;) {
    if (shuffle_seed != 0) {
      for (size_t i = count; i > 1; --i) {
        *random = *random * 6364136223846793005u + 1442695040888963407u;
        std::swap(order[i - 1], order[(*random >> 33) % i]);
      }
    }
    size_t done = 0;
    for (size_t i : order) {
      Fiber& fiber = block.fibers[i];
      if (fiber.state == State::kReady) {
        block.running = &fiber;
        threadIdx = fiber.index;
        swapcontext(&block.scheduler, &fiber.context);
      }
      done += fiber.state == State::kDone;
    }
    if (done == count) return;
    if (!Release()) {
      std::fprintf(stderr,
                   "cuda emulation: threads of block (%u, %u, %u) wait at barriers that the "
                   "others of their warp or block do not reach\n",
                   blockIdx.x, blockIdx.y, blockIdx.z);
      std::abort();
    }
  }
}

void StartFibers(dim3 size) {
  const size_t count = size.x;
  if (block.fibers.size() != count) block.fibers.resize(count);
  for (size_t i = 0; i < count; ++i) {
    Fiber& fiber = block.fibers[i];
    if (fiber.stack == nullptr) fiber.stack = std::make_unique<std::byte[]>(kStackBytes);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, Enter, 0);
    fiber.state = State::kReady;
    fiber.index = dim3(static_cast<unsigned>(i), 0, 0);
  }
}

}  // namespace

void Emulation::Shuffle(uint64_t seed) { shuffle_seed = seed; }

void Emulation::RunGrid(dim3 grid, dim3 size, size_t shared_bytes,
                        const std::function<void()>& thread) {
  if (size.y != 1 || size.z != 1) std::abort();
  blockDim = size;
  gridDim = grid;
  block.thread = &thread;
  block.lanes.resize(size.x * kLaneBytes);
  // 128 bytes more than asked for, because that is how it is aligned.
  const size_t padded = (shared_bytes + 127) / 128 * 128;
  std::byte* memory =
      padded == 0 ? nullptr : static_cast<std::byte*>(std::aligned_alloc(128, padded));
  block.shared.release();
  block.shared.reset(memory);
  uint64_t random = shuffle_seed;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        if (memory != nullptr) std::memset(memory, 0xff, padded);
        StartFibers(size);
        RunBlock(&random);
      }
    }
  }
  block.shared.release();
  std::free(memory);
}

void* Emulation::shared_memory() { return block.shared.get(); }
void Emulation::BlockBarrier() { Pause(State::kAtBlockBarrier); }
void Emulation::WarpBarrier() { Pause(State::kAtWarpBarrier); }
std::byte* Emulation::LaneBytes(int lane) {
  return block.lanes.data() + (threadIdx.x / 32 * 32 + lane) * kLaneBytes;
}

}  // namespace tessera::tests
