#include "worker/backend/kernel_sets.h"

#if defined(__x86_64__)
#include <cpuid.h>
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
#endif

struct KernelSet {
  const char* name;
  const char* numerics;
  const CpuKernels* kernels;  // null: the reference
  const char* needs;
  bool (*runs_here)();
};

constexpr KernelSet kSets[] = {
#if defined(__x86_64__)
    {"avx512_vnni", "fma16", &kAvx512VnniKernels, "AVX-512 (F, BW, VL, DQ) with VNNI",
     &HasAvx512Vnni},
    {"avx512", "fma16", &kAvx512Kernels, "AVX-512 (F, BW, VL, DQ)", &HasAvx512},
    {"avx2", "fma16", &kAvx2Kernels, "AVX2, FMA and F16C", &HasAvx2},
#endif
    {"generic", "fma16", &kGenericKernels, "", &Always},
    {"reference", "reference", nullptr, "", &Always},
};

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
    sets.push_back({set.name, set.numerics, set.needs, set.runs_here()});
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
  return std::string(set->numerics);
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(absl::string_view kernel_set, int threads,
                                                     const std::vector<int>& cpus) {
  ASSIGN_OR_RETURN(std::string name, ResolveKernelSet(kernel_set));
  ASSIGN_OR_RETURN(const KernelSet* set, FindSet(name));
  if (set->kernels == nullptr) return MakeReferenceBackend();
  return MakeCpuBackend(*set->kernels, std::max(1, threads), cpus);
}

}  // namespace tessera::worker
