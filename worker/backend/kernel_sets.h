// Which kernel sets there are, and which of them this machine runs.
#ifndef TESSERA_WORKER_BACKEND_KERNEL_SETS_H_
#define TESSERA_WORKER_BACKEND_KERNEL_SETS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tessera::worker {

// The sets of this build that this machine's cpuid allows, best first: "avx512_vnni", "avx512",
// "avx2", "generic"; behind them those that only their name chooses: "avx512_bf16", whose products
// with matrices in bf16 take dot instructions, and last "reference" (slow and obvious, for
// comparison).
std::vector<std::string> AvailableKernelSets();

// A set of this build.
struct KernelSetFacts {
  std::string name;
  std::string numerics;  // as KernelNumerics says
  std::string needs;     // instructions beyond those of any CPU of its kind, in words; or empty
  bool runs_here = false;
  // What is known of this CPU's model, for whoever chooses by name; or empty.
  std::string advice;
};
// All of this build, best first, and behind them those that "auto" does not take.
std::vector<KernelSetFacts> AllKernelSets();

// "auto" gives the first of AvailableKernelSets(). INVALID_ARGUMENT for a name that does not exist,
// FAILED_PRECONDITION for one that this machine does not run.
absl::StatusOr<std::string> ResolveKernelSet(absl::string_view name);

// The part of the numerics id that a kernel set decides: sets of one name give equal bits. "fma16"
// for all up to "generic": integers of coded matrices add up exactly in any of them; "bf16dot-" and
// the CPU's vendor for "avx512_bf16"; "reference" for itself. INVALID_ARGUMENT for an unknown set.
absl::StatusOr<std::string> KernelNumerics(absl::string_view kernel_set);

// Goes up whenever the order of an operation changes in any set.
inline constexpr int kNumericsVersion = 1;

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_KERNEL_SETS_H_
