// The part of CUDA that worker/backend/cuda uses, on a host: the very sources of the kernels
// compile with a C++ compiler and this folder in front of the include path. A block's threads are
// fibers that run one at a time; a barrier, or an exchange within a warp, hands over to the next.
// Between two barriers the threads run in an order that Emulation::Shuffle changes, so that a
// missing barrier shows as another result. Shared memory is a heap block of exactly the size asked
// for, filled with NaN for every block of threads. Streams do everything at once; a capture keeps
// what is launched.
#ifndef TESSERA_TESTS_SUPPORT_CUDA_EMULATION_CUDA_RUNTIME_H_
#define TESSERA_TESTS_SUPPORT_CUDA_EMULATION_CUDA_RUNTIME_H_

#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(threads)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct uint2 {
  unsigned x, y;
};

inline thread_local dim3 threadIdx;
inline thread_local dim3 blockIdx;
inline thread_local dim3 blockDim;
inline thread_local dim3 gridDim;

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2
};
struct CUstream_st {
  std::vector<std::function<void()>>* capture = nullptr;
};
using cudaStream_t = CUstream_st*;
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

namespace tessera::tests {

class Emulation {
 public:
  // 0: threads run in ascending order; else in an order that the number gives.
  static void Shuffle(uint64_t seed);

  static void RunGrid(dim3 grid, dim3 block, size_t shared_bytes,
                      const std::function<void()>& thread);
  static void* shared_memory();
  static void BlockBarrier();
  // Waits for the 32 threads of the warp.
  static void WarpBarrier();
  // 64 bytes of each lane of the own warp, for exchanges: write, WarpBarrier, read, WarpBarrier.
  static std::byte* LaneBytes(int lane);
};

}  // namespace tessera::tests

inline void __syncthreads() { tessera::tests::Emulation::BlockBarrier(); }
inline void __syncwarp(unsigned = 0xffffffffu) { tessera::tests::Emulation::WarpBarrier(); }

template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
  using tessera::tests::Emulation;
  *reinterpret_cast<T*>(Emulation::LaneBytes(static_cast<int>(threadIdx.x % 32))) = value;
  Emulation::WarpBarrier();
  const T result = *reinterpret_cast<T*>(Emulation::LaneBytes(lane % 32));
  Emulation::WarpBarrier();
  return result;
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ lanes);
}

// Of the lanes of a whole warp.
inline unsigned __ballot_sync(unsigned, bool here) {
  using tessera::tests::Emulation;
  *reinterpret_cast<bool*>(Emulation::LaneBytes(static_cast<int>(threadIdx.x % 32))) = here;
  Emulation::WarpBarrier();
  unsigned all = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (*reinterpret_cast<bool*>(Emulation::LaneBytes(lane))) all |= 1u << lane;
  }
  Emulation::WarpBarrier();
  return all;
}
inline int __popc(unsigned bits) { return std::popcount(bits); }

// Threads of a block run one at a time.
template <typename T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to = before + value;
  return before;
}
inline unsigned atomicOr(unsigned* to, unsigned value) {
  const unsigned before = *to;
  *to = before | value;
  return before;
}
// Four products of 8 bits with a sign, added up.
inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; ++i) {
    sum += static_cast<int8_t>(a >> 8 * i) * static_cast<int8_t>(b >> 8 * i);
  }
  return sum;
}
inline double __longlong_as_double(long long bits) { return std::bit_cast<double>(bits); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }

inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
// PRMT of the PTX ISA, without sign replication.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const uint64_t bytes = uint64_t{b} << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    result |= static_cast<unsigned>(bytes >> ((selector >> 4 * i & 7) * 8) & 0xff) << 8 * i;
  }
  return result;
}

inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int bytes) {
  return bytes <= 163 << 10 ? cudaSuccess : cudaErrorInvalidValue;  // of compute capability 8.0
}

inline cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "emulated error"; }
inline const char* cudaGetErrorName(cudaError_t) { return "cudaErrorEmulated"; }
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return stream->capture == nullptr ? cudaSuccess : cudaErrorInvalidValue;
}
inline std::atomic<int64_t> emulated_allocations{0};
inline cudaError_t cudaMalloc(void** data, size_t bytes) {
  ++emulated_allocations;
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFree(void* data) {
  std::free(data);
  return cudaSuccess;
}

inline cudaError_t cudaMallocHost(void** data, size_t bytes) { return cudaMalloc(data, bytes); }
inline cudaError_t cudaFreeHost(void* data) { return cudaFree(data); }
struct CUevent_st {};
using cudaEvent_t = CUevent_st*;
inline constexpr unsigned cudaEventDisableTiming = 2;
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

// Does `work` now, or keeps it where the stream is being captured.
inline cudaError_t Enqueue(cudaStream_t stream, std::function<void()> work) {
  if (stream != nullptr && stream->capture != nullptr) {
    stream->capture->push_back(std::move(work));
  } else {
    work();
  }
  return cudaSuccess;
}
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
// Of what the host holds only now, a capture cannot be made.
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream) {
  if (stream != nullptr && stream->capture != nullptr && kind != cudaMemcpyDeviceToDevice) {
    return cudaErrorInvalidValue;
  }
  return Enqueue(stream, [=] { std::memcpy(to, from, bytes); });
}
inline cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  return Enqueue(stream, [=] { std::memset(data, value, bytes); });
}

struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capture = new std::vector<std::function<void()>>;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = new CUgraph_st{std::move(*stream->capture)};
  delete stream->capture;
  stream->capture = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                        unsigned long long) {
  *exec = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  for (const auto& each : exec->work) each();
  return cudaSuccess;
}

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const dim3 grid = config->gridDim;
  const dim3 block = config->blockDim;
  if (block.x > 1024 || grid.y > 65535 || grid.z > 65535) return cudaErrorInvalidValue;
  if (config->dynamicSmemBytes > size_t{163} << 10) return cudaErrorInvalidValue;
  std::function<void()> run = [grid, block, bytes = config->dynamicSmemBytes, kernel,
                               values = std::tuple<Parameters...>(arguments...)] {
    tessera::tests::Emulation::RunGrid(grid, block, bytes, [&] { std::apply(kernel, values); });
  };
  return Enqueue(config->stream, std::move(run));
}

#endif  // TESSERA_TESTS_SUPPORT_CUDA_EMULATION_CUDA_RUNTIME_H_
