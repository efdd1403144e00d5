#include "worker/backend/kernel_sets.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/status_macros.h"
#include "worker/backend/backend.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/backend/reference/reference_backend.h"

namespace tessera::worker {
namespace {

bool Always() { return true; }

#if defined(__x86_64__)
// clang 16's __builtin_cpu_supports does not know it.
bool HasF16c() {
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
}
bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
bool HasAvx512Vnni() { return HasAvx512() && __builtin_cpu_supports("avx512vnni"); }
bool HasAvx512Bf16() { return HasAvx512Vnni() && __builtin_cpu_supports("avx512bf16"); }
// The state of the tiles is something that a process must ask its kernel for, once.
bool HasAmx() {
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned int kFeatures = 1u << 22 | 1u << 24 | 1u << 25;  // bf16, tiles, int8
  if (!HasAvx512Bf16() || __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kFeatures) != kFeatures) return false;
  constexpr int kAskPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;           // XFEATURE_XTILE_DATA
  static const bool permitted = syscall(SYS_arch_prctl, kAskPermission, kTileData) == 0;
  return permitted;
}
#endif

struct KernelSet {
  const char* name;
  const char* numerics;
  const CpuKernels* kernels;  // null: the reference
  const char* needs;
  bool (*runs_here)();
  // What the vendor's manual leaves open of an instruction is not held to be the same elsewhere:
  // the vendor's name is part of the numerics.
  bool by_vendor = false;
  const DotKernels* pairs = nullptr;  // as MakeCpuBackend says
  const DotKernels* codes = nullptr;
};

[[maybe_unused]] constexpr char kNeedsAmx[] =
    "AMX (tiles, int8, bf16) and AVX-512 with VNNI and BF16";

constexpr KernelSet kSets[] = {
#if defined(__x86_64__)
    {"avx512_vnni", "fma16", &kAvx512VnniKernels, "AVX-512 (F, BW, VL, DQ) with VNNI",
     &HasAvx512Vnni},
    {"avx512", "fma16", &kAvx512Kernels, "AVX-512 (F, BW, VL, DQ)", &HasAvx512},
    {"avx2", "fma16", &kAvx2Kernels, "AVX2, FMA and F16C", &HasAvx2},
#endif
    {"generic", "fma16", &kGenericKernels, "", &Always},
#if defined(__x86_64__)
    // Other numerics, only by name.
    {"avx512_bf16", "bf16dot", &kAvx512VnniKernels, "AVX-512 (F, BW, VL, DQ) with VNNI and BF16",
     &HasAvx512Bf16, /*by_vendor=*/true, &kAvx512Bf16Kernels},
    {"amx_int8", "fma16", &kAvx512VnniKernels, kNeedsAmx, &HasAmx, /*by_vendor=*/false, nullptr,
     &kAmxKernels},
    {"amx_bf16", "bf16amx", &kAvx512VnniKernels, kNeedsAmx, &HasAmx, /*by_vendor=*/true,
     &kAmxKernels, &kAmxKernels},
#endif
    {"reference", "reference", nullptr, "", &Always},
};

// "intel", "amd", or "other".
std::string CpuVendor() {
#if defined(__x86_64__)
  if (__builtin_cpu_is("intel")) return "intel";
  if (__builtin_cpu_is("amd")) return "amd";
#endif
  return "other";
}

std::string NumericsOf(const KernelSet& set) {
  return set.by_vendor ? absl::StrCat(set.numerics, "-", CpuVendor()) : set.numerics;
}

#if defined(__x86_64__)
// CPU models (cpuid's family and model, as one number each) on which a set that "auto" does not
// take is faster, measured with tests/bench/run.sh kernels.
struct FasterOn {
  const char* set;
  const char* vendor;
  unsigned int family;
  unsigned int first_model;
  unsigned int last_model;
  const char* advice;
};
constexpr char kZen4[] =
    "on this CPU products in bf16 take half the time of fma with many rows, by other bits";
constexpr FasterOn kFasterOn[] = {
    {"avx512_bf16", "amd", 0x19, 0x10, 0x1f, kZen4},  // EPYC 9004
    {"avx512_bf16", "amd", 0x19, 0x60, 0x7f, kZen4},  // Ryzen 7000
    {"avx512_bf16", "amd", 0x19, 0xa0, 0xaf, kZen4},  // EPYC 97x4, 8004
};

std::string AdviceOn(absl::string_view set) {
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return "";
  const unsigned int base = eax >> 8 & 0xf;
  const unsigned int family = base + (base == 0xf ? eax >> 20 & 0xff : 0);
  const unsigned int model = (eax >> 4 & 0xf) | (eax >> 12 & 0xf0);
  for (const FasterOn& known : kFasterOn) {
    if (set == known.set && CpuVendor() == known.vendor && family == known.family &&
        model >= known.first_model && model <= known.last_model) {
      return known.advice;
    }
  }
  return "";
}
#else
std::string AdviceOn(absl::string_view) { return ""; }
#endif

absl::StatusOr<const KernelSet*> FindSet(absl::string_view name) {
  std::vector<std::string> names = {"auto"};
  for (const KernelSet& set : kSets) {
    if (set.name == name) return &set;
    names.push_back(set.name);
  }
  return absl::InvalidArgumentError(absl::StrCat("worker: kernel set '", name,
                                                 "' does not exist in this build; it has ",
                                                 absl::StrJoin(names, ", ")));
}

}  // namespace

std::vector<std::string> AvailableKernelSets() {
  std::vector<std::string> names;
  for (const KernelSet& set : kSets) {
    if (set.runs_here()) names.push_back(set.name);
  }
  return names;
}

std::vector<KernelSetFacts> AllKernelSets() {
  std::vector<KernelSetFacts> sets;
  for (const KernelSet& set : kSets) {
    sets.push_back({set.name, NumericsOf(set), set.needs, set.runs_here(), AdviceOn(set.name)});
  }
  return sets;
}

absl::StatusOr<std::string> ResolveKernelSet(absl::string_view name) {
  if (name == "auto") return AvailableKernelSets().front();
  ASSIGN_OR_RETURN(const KernelSet* set, FindSet(name));
  if (!set->runs_here()) {
    return absl::FailedPreconditionError(
        absl::StrCat("worker: kernel set '", name, "' needs ", set->needs, ", which this CPU does ",
                     "not have; it runs ", absl::StrJoin(AvailableKernelSets(), ", ")));
  }
  return std::string(set->name);
}

absl::StatusOr<std::string> KernelNumerics(absl::string_view kernel_set) {
  ASSIGN_OR_RETURN(const KernelSet* set, FindSet(kernel_set));
  return NumericsOf(*set);
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(absl::string_view kernel_set, int threads,
                                                     const std::vector<int>& cpus) {
  ASSIGN_OR_RETURN(std::string name, ResolveKernelSet(kernel_set));
  ASSIGN_OR_RETURN(const KernelSet* set, FindSet(name));
  if (set->kernels == nullptr) return MakeReferenceBackend();
  return MakeCpuBackend(*set->kernels, set->pairs, set->codes, std::max(1, threads), cpus);
}

}  // namespace tessera::worker
