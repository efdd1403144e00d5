// What a group is to be, decided from what its ranks say of themselves. Pure.
#ifndef TESSERA_SERVER_EXECUTOR_GROUP_PLAN_H_
#define TESSERA_SERVER_EXECUTOR_GROUP_PLAN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "internal/v1/worker.pb.h"
#include "server/executor/executor.h"
#include "server/executor/group_options.h"

namespace tessera::server {

// Fixed with the first group that gets ready; every later one must fit it.
struct GroupPlan {
  GroupFacts facts;
  std::string kernel_numerics;  // the kernel part of the numerics id
  std::string dtype;            // resolved: "bf16"
  std::string kv_dtype;         // resolved
  std::string comm;             // resolved: "shm"
  std::string device;           // what computes and why, in words: "CPU (auto: cuda: ...)"
};

// `descriptions`: of the ranks of all groups of the server, group by group, each in its order: they
// give one answer, so they are planned together. FAILED_PRECONDITION where the ranks have no kernel
// set with equal bits in common, a communicator is missing, or the memory does not suffice.
absl::StatusOr<GroupPlan> DecideGroup(const GroupOptions& options,
                                      const std::vector<internal::v1::Description>& descriptions);

// What every rank of this group is to load under a plan, in rank order. FAILED_PRECONDITION names
// the rank that cannot run the plan's numerics id.
absl::StatusOr<std::vector<internal::v1::Load>> LoadCommands(
    const GroupOptions& options, const GroupPlan& plan,
    const std::vector<internal::v1::Description>& descriptions);

// The communicator that "auto" means, or the one asked for; "none" for a group of one rank
// and for simulated ones.
std::string ResolveComm(const GroupOptions& options);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_GROUP_PLAN_H_
