// The functions of worker/backend/cuda/intrinsics.cuh in plain C++, from their definitions in the
// PTX ISA (9.7.14.5.8, mma.m16n8k16; 9.7.14.5.15, ldmatrix; 9.7.9.25, cp.async).
#ifndef TESSERA_TESTS_SUPPORT_CUDA_EMULATION_WORKER_BACKEND_CUDA_INTRINSICS_CUH_
#define TESSERA_TESTS_SUPPORT_CUDA_EMULATION_WORKER_BACKEND_CUDA_INTRINSICS_CUH_

#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>

#include "worker/tensor/convert.h"

namespace tessera::worker::cuda {

template <typename T>
T* SharedMemory() {
  return static_cast<T*>(tests::Emulation::shared_memory());
}

inline float WidenBF16(uint16_t bits) { return BF16ToFloat(bits); }
inline float WidenF16(uint16_t bits) { return F16ToFloat(bits); }
inline uint16_t NarrowBF16(float value) { return FloatToBF16(value); }
inline uint16_t NarrowF16(float value) { return FloatToF16(value); }

// What a lane brings to an instruction, [lane].
struct MmaOperands {
  uint32_t a[4];
  uint32_t b[2];
};

// The sum of the 16 products in double, rounded once: a device's own order within the instruction
// is not specified.
template <float (*kWiden)(uint16_t)>
void EmulateMma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  using tests::Emulation;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const MmaOperands own = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  std::memcpy(Emulation::LaneBytes(lane), &own, sizeof(own));
  Emulation::WarpBarrier();
  auto operands = [](int l) {
    return reinterpret_cast<const MmaOperands*>(Emulation::LaneBytes(l));
  };
  auto half = [](uint32_t word, int i) { return static_cast<uint16_t>(word >> 16 * i); };
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8;
    const int column = lane % 4 * 2 + i % 2;
    double sum = d[i];
    for (int k = 0; k < 16; ++k) {
      // a: lane 4 (row % 8) + (k % 8) / 2, word row / 8 + 2 (k / 8); b: lane 4 column + (k % 8)
      // / 2.
      const uint32_t left = operands(row % 8 * 4 + k % 8 / 2)->a[row / 8 + k / 8 * 2];
      const uint32_t right = operands(column * 4 + k % 8 / 2)->b[k / 8];
      sum += double{kWiden(half(left, k % 2))} * kWiden(half(right, k % 2));
    }
    d[i] = static_cast<float>(sum);
  }
  Emulation::WarpBarrier();
}
inline void MmaBF16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  EmulateMma<WidenBF16>(d, a, b0, b1);
}
inline void MmaF16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  EmulateMma<WidenF16>(d, a, b0, b1);
}

inline void CheckAligned(const void* address, int bytes) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) std::abort();
}

inline void ExchangeMatrices(uint32_t (&words)[4], const void* row, bool transposed) {
  using tests::Emulation;
  const int lane = static_cast<int>(threadIdx.x % 32);
  CheckAligned(row, 16);
  std::memcpy(Emulation::LaneBytes(lane), row, 16);
  Emulation::WarpBarrier();
  auto element = [](int matrix, int r, int c) {
    return uint32_t{reinterpret_cast<const uint16_t*>(Emulation::LaneBytes(matrix * 8 + r))[c]};
  };
  const int g = lane / 4;
  const int t = lane % 4 * 2;
  for (int i = 0; i < 4; ++i) {
    words[i] = transposed ? element(i, t, g) | element(i, t + 1, g) << 16
                          : element(i, g, t) | element(i, g, t + 1) << 16;
  }
  Emulation::WarpBarrier();
}
inline void LoadMatrices(uint32_t (&words)[4], const void* row) {
  ExchangeMatrices(words, row, false);
}
inline void LoadTransposed(uint32_t (&words)[4], const void* row) {
  ExchangeMatrices(words, row, true);
}

// Copies are done at once: what is read too early shows in the order of threads only.
inline void CopyAsync(void* shared, const void* from, bool there) {
  CheckAligned(shared, 16);
  CheckAligned(from, 16);
  if (there) {
    std::memcpy(shared, from, 16);
  } else {
    std::memset(shared, 0, 16);
  }
}
inline void CommitCopies() {}
template <int kLeft>
void WaitCopies() {}

}  // namespace tessera::worker::cuda

#endif  // TESSERA_TESTS_SUPPORT_CUDA_EMULATION_WORKER_BACKEND_CUDA_INTRINSICS_CUH_
