// The instructions of a device that C++ has no words for. tests/support/cuda_emulation holds the
// same functions as plain C++, from the PTX ISA's definitions, so that the kernels run on a host.
#ifndef TESSERA_WORKER_BACKEND_CUDA_INTRINSICS_CUH_
#define TESSERA_WORKER_BACKEND_CUDA_INTRINSICS_CUH_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace tessera::worker::cuda {

// The dynamic shared memory of the block, aligned to 128 bytes.
template <typename T>
__device__ __forceinline__ T* SharedMemory() {
  extern __shared__ __align__(128) unsigned char tessera_shared_memory[];
  return reinterpret_cast<T*>(tessera_shared_memory);
}

// Numbers of 16 bits: widened exactly, narrowed to the nearest, ties to even.
__device__ __forceinline__ float WidenBF16(uint16_t bits) {
  return __uint_as_float(uint32_t{bits} << 16);
}
__device__ __forceinline__ float WidenF16(uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
__device__ __forceinline__ uint16_t NarrowBF16(float value) {
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
__device__ __forceinline__ uint16_t NarrowF16(float value) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

// d += a x b: a is 16 x 16, b is 16 x 8, d is 16 x 8 in fp32; mma.sync.m16n8k16 of the PTX ISA,
// with lane = 4 * g + t:
//   a: {row g, k 2t..}, {row g + 8, k 2t..}, {row g, k 2t + 8..}, {row g + 8, k 2t + 8..}
//   b: {k 2t.., column g}, {k 2t + 8.., column g};  d: {row g, columns 2t..}, {row g + 8, likewise}
__device__ __forceinline__ void MmaBF16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                        uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void MmaF16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                       uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four matrices of 8 x 8 elements of 16 bits out of shared memory: lane 8 i + r names the 16 bytes
// of row r of matrix i. Lane 4 g + t gets of matrix i, in word i, elements 2t and 2t + 1 of row g;
// transposed: of column g.
__device__ __forceinline__ void LoadMatrices(uint32_t (&words)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void LoadTransposed(uint32_t (&words)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

// 16 bytes from global to shared memory, on their way until WaitCopies; `there`: else zeros, and
// `from` is not read.
__device__ __forceinline__ void CopyAsync(void* shared, const void* from, bool there) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// All but the newest `kLeft` groups of this thread have arrived.
template <int kLeft>
__device__ __forceinline__ void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_INTRINSICS_CUH_
