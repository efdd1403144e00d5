#include "tests/bench/kernels/machine_limits.h"

#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "worker/tensor/cpus.h"

namespace tessera::tests {
namespace {

double Seconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Where results go, so that no work is left out.
volatile float sink;

#define TESSERA_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))
#define TESSERA_TARGET_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define TESSERA_TARGET_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define TESSERA_TARGET_AVX2 __attribute__((target("avx2,fma")))

TESSERA_TARGET_AVX512 double FmaAvx512(int64_t rounds) {
  __m512 sums[16];
  for (auto& sum : sums) sum = _mm512_set1_ps(1.0f);
  const __m512 factor = _mm512_set1_ps(0.999f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) sums[j] = _mm512_fmadd_ps(sums[j], factor, factor);
  }
  for (auto& sum : sums) sink = _mm512_reduce_add_ps(sum);
  return 2.0 * 16 * 16 * static_cast<double>(rounds);
}

TESSERA_TARGET_AVX2 double FmaAvx2(int64_t rounds) {
  __m256 sums[12];
  for (auto& sum : sums) sum = _mm256_set1_ps(1.0f);
  const __m256 factor = _mm256_set1_ps(0.999f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) sums[j] = _mm256_fmadd_ps(sums[j], factor, factor);
  }
  for (auto& sum : sums) sink = _mm256_cvtss_f32(sum);
  return 2.0 * 12 * 8 * static_cast<double>(rounds);
}

TESSERA_TARGET_VNNI double Int8Dots(int64_t rounds) {
  __m512i sums[16];
  for (auto& sum : sums) sum = _mm512_set1_epi32(1);
  const __m512i factor = _mm512_set1_epi32(0x01010101);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) sums[j] = _mm512_dpbusd_epi32(sums[j], factor, factor);
  }
  for (auto& sum : sums) sink = static_cast<float>(_mm512_reduce_add_epi32(sum));
  return 2.0 * 16 * 64 * static_cast<double>(rounds);
}

TESSERA_TARGET_BF16 double Bf16Dots(int64_t rounds) {
  __m512 sums[16];
  for (auto& sum : sums) sum = _mm512_set1_ps(1.0f);
  const __m512bh factor = (__m512bh)_mm512_set1_epi32(0x3f003f00);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) sums[j] = _mm512_dpbf16_ps(sums[j], factor, factor);
  }
  for (auto& sum : sums) sink = _mm512_reduce_add_ps(sum);
  return 2.0 * 16 * 32 * static_cast<double>(rounds);
}

constexpr int kStreams = 8;

TESSERA_TARGET_AVX512 void ReadAvx512(const std::byte* data, int64_t bytes) {
  const int64_t part = bytes / kStreams / 64 * 64;
  __m512i sums[kStreams];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < part; i += 64) {
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
      _mm_prefetch(reinterpret_cast<const char*>(data) + s * part + i + 2048, _MM_HINT_T0);
      sums[s] = _mm512_xor_si512(sums[s], _mm512_load_si512(data + s * part + i));
    }
  }
  for (auto& sum : sums) sink = static_cast<float>(_mm512_reduce_add_epi32(sum));
}

void ReadPlain(const std::byte* data, int64_t bytes) {
  uint64_t sums[kStreams] = {};
  for (int64_t i = 0; i + 64 <= bytes; i += 64) {
    for (int s = 0; s < kStreams; ++s) {
      uint64_t value;
      std::memcpy(&value, data + i + s * 8, 8);
      sums[s] ^= value;
    }
  }
  for (uint64_t sum : sums) sink = static_cast<float>(sum);
}

bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace

double ThreadSeconds() { return Seconds(CLOCK_THREAD_CPUTIME_ID); }
double WallSeconds() { return Seconds(CLOCK_MONOTONIC); }

std::vector<double> BestTimes(const std::vector<std::function<void()>>& bodies, int threads,
                              double seconds) {
  std::vector<double> best(bodies.size(), 1e9);
  const double end = WallSeconds() + seconds;
  int rounds = 0;
  do {
    for (size_t i = 0; i < bodies.size(); ++i) {
      const double start = threads == 1 ? ThreadSeconds() : WallSeconds();
      bodies[i]();
      best[i] = std::min(best[i], (threads == 1 ? ThreadSeconds() : WallSeconds()) - start);
    }
  } while (++rounds < 3 || WallSeconds() < end);
  return best;
}

ColdMemory::ColdMemory(int64_t bytes) : buffer_(*worker::Buffer::Allocate(bytes, "a bench")) {
  std::memset(buffer_.data(), 0x3c, static_cast<size_t>(bytes));  // small numbers in any dtype
}

std::byte* ColdMemory::Next(int64_t bytes) {
  if (next_ + bytes > buffer_.size()) next_ = 0;
  std::byte* part = buffer_.data() + next_;
  next_ += (bytes + 63) / 64 * 64;
  return part;
}

std::string PeakInstruction(Peak peak) {
  switch (peak) {
    case Peak::kFma:
      if (HasAvx512()) return "fma, 512 bits";
      return __builtin_cpu_supports("fma") ? "fma, 256 bits" : "";
    case Peak::kBf16Dot:
      return __builtin_cpu_supports("avx512bf16") ? "vdpbf16ps" : "";
    case Peak::kInt8Dot:
      return __builtin_cpu_supports("avx512vnni") ? "vpdpbusd" : "";
  }
  return "";
}

double RunPeak(Peak peak, int64_t rounds) {
  switch (peak) {
    case Peak::kFma:
      return HasAvx512() ? FmaAvx512(rounds) : FmaAvx2(rounds);
    case Peak::kBf16Dot:
      return Bf16Dots(rounds);
    case Peak::kInt8Dot:
      return Int8Dots(rounds);
  }
  return 0;
}

void ReadOnce(const std::byte* data, int64_t bytes) {
  HasAvx512() ? ReadAvx512(data, bytes) : ReadPlain(data, bytes);
}

std::string CpuText() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t value = line.find(": ");
    if (line.rfind("model name", 0) == 0 && value != std::string::npos) {
      return absl::StrCat(line.substr(value + 2), ", ", worker::AvailableCpus(), " CPUs");
    }
  }
  return "unknown";
}

}  // namespace tessera::tests
