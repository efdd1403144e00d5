#include "server/executor/group_plan.h"

#include <catch2/catch.hpp>
#include <memory>

#include "server/executor/launch.h"
#include "server/executor/shared_plan.h"
#include "shard_loader/load/checkpoint.h"
#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

using Seat = SharedPlan::Seat;
using Descriptions = std::vector<internal::v1::Description>;
using Sets = std::vector<std::pair<std::string, std::string>>;  // name, numerics

const Sets kFull = {{"avx512", "fma"}, {"avx2", "fma"}, {"generic", "fma"}, {"reference", "ref"}};
const Sets kOld = {{"avx2", "fma"}, {"generic", "fma"}, {"reference", "ref"}};
const Sets kReferenceOnly = {{"reference", "ref"}};

internal::v1::Description Rank(const std::string& host, const Sets& sets,
                               uint64_t memory = uint64_t{1} << 30) {
  internal::v1::Description description;
  description.set_host(host);
  description.set_memory_bytes(memory);
  description.set_threads(8);
  for (const auto& [name, numerics] : sets) {
    internal::v1::KernelSet* set = description.add_kernels();
    set->set_name(name);
    set->set_numerics(numerics);
  }
  description.add_comms("shm");
  description.add_comms("gloo");
  return description;
}

const shard_loader::Checkpoint& Demo() {
  static const auto checkpoint = shard_loader::Checkpoint::Open(tests::DemoModel()).value();
  return *checkpoint;
}

GroupOptions Options(int tp) {
  GroupOptions options;
  options.checkpoint = &Demo();
  options.layout.tp = tp;
  options.max_num_seqs = 2;
  options.max_num_batched_tokens = 16;
  return options;
}

TEST_CASE("ranks of different machines run the best sets that give equal bits") {
  GroupOptions options = Options(2);
  Descriptions ranks = {Rank("a", kFull), Rank("b", kOld)};
  auto plan = DecideGroup(options, ranks);
  REQUIRE(plan.ok());
  CHECK(plan->kernel_numerics == "fma");
  auto loads = LoadCommands(options, *plan, ranks);
  REQUIRE(loads.ok());
  CHECK((*loads)[0].kernels() == "avx512");
  CHECK((*loads)[1].kernels() == "avx2");
  CHECK((*loads)[1].rank() == 1);
  CHECK((*loads)[0].numerics_id() == plan->facts.numerics_id);
  CHECK((*loads)[0].weights_version() == Demo().weights_version());
}

TEST_CASE("ranks are told how to guess, and a draft model with another vocabulary is refused") {
  GroupOptions options = Options(2);
  const Descriptions ranks = {Rank("a", kFull), Rank("a", kFull)};
  options.speculation = {.num_tokens = 3, .ngram_min = 2, .ngram_max = 5};
  auto plan = DecideGroup(options, ranks);
  REQUIRE(plan.ok());
  CHECK(plan->facts.num_speculative_tokens == 3);
  const auto load = LoadCommands(options, *plan, ranks)->at(1).speculation();
  CHECK(load.num_tokens() == 3);
  CHECK(load.ngram_min() == 2);
  CHECK(load.ngram_max() == 5);
  CHECK(load.draft_dir().empty());

  const auto draft = shard_loader::Checkpoint::Open(tests::DemoModel().parent_path() / "draft");
  options.speculation.draft = draft->get();
  plan = DecideGroup(options, ranks);
  REQUIRE(plan.ok());
  const auto drafted = LoadCommands(options, *plan, ranks)->at(0).speculation();
  CHECK(drafted.draft_dir().ends_with("demo/draft"));
  CHECK(drafted.draft_version() == (*draft)->weights_version());

  const auto other = shard_loader::Checkpoint::Open(tests::Fixture("checkpoints/llama_small"));
  options.speculation.draft = other->get();
  const absl::Status refused = DecideGroup(options, ranks).status();
  CHECK(absl::IsFailedPrecondition(refused));
  CHECK(std::string(refused.message()).find("--draft") != std::string::npos);
}

TEST_CASE("ranks are told how many slots they have for evicted blocks, and where") {
  GroupOptions options = Options(2);
  options.max_num_seqs = 64;
  const uint64_t memory = 300 << 20;
  const Descriptions ranks = {Rank("a", kFull, memory), Rank("a", kFull, memory)};
  const auto without = DecideGroup(options, ranks);
  REQUIRE(without.ok());
  CHECK(LoadCommands(options, *without, ranks)->at(0).num_kv_slots() == 0);
  options.kv_offload_bytes = 20 << 20;
  const auto plan = DecideGroup(options, ranks);
  REQUIRE(plan.ok());
  CHECK(plan->facts.num_kv_slots > 0);
  CHECK(plan->facts.num_kv_blocks < without->facts.num_kv_blocks);  // of one memory
  CHECK(plan->facts.numerics_id == without->facts.numerics_id);
  options.kv_offload_dir = "/somewhere";
  const auto file = DecideGroup(options, ranks);
  REQUIRE(file.ok());
  CHECK(file->facts.num_kv_slots == plan->facts.num_kv_slots);
  CHECK(file->facts.num_kv_blocks > plan->facts.num_kv_blocks);
  const auto loads = LoadCommands(options, *file, ranks);
  CHECK(loads->at(1).num_kv_slots() == file->facts.num_kv_slots);
  CHECK(loads->at(1).kv_offload_dir() == "/somewhere");
}

TEST_CASE("a machine that has only slower sets brings all ranks down to its numerics") {
  auto plan = DecideGroup(Options(2), {Rank("a", kFull), Rank("b", kReferenceOnly)});
  REQUIRE(plan.ok());
  CHECK(plan->kernel_numerics == "ref");
}

TEST_CASE("a kernel set that is asked for must run on every rank") {
  GroupOptions options = Options(2);
  options.kernels = "avx512";
  absl::Status status = DecideGroup(options, {Rank("a", kFull), Rank("b", kOld)}).status();
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(std::string(status.message()).find("rank 1 has avx2, generic, reference") !=
        std::string::npos);
}

TEST_CASE("a rank that comes later and cannot run the numerics id is refused by name") {
  GroupOptions options = Options(2);
  auto plan = DecideGroup(options, {Rank("a", kFull), Rank("b", kFull)});
  REQUIRE(plan.ok());
  absl::Status status =
      LoadCommands(options, *plan, {Rank("a", kFull), Rank("c", kReferenceOnly)}).status();
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(std::string(status.message()).find("rank 1 on c cannot run") == 0);
}

TEST_CASE("dtypes follow the checkpoint, and the cache follows the weights") {
  auto stored = DecideGroup(Options(1), {Rank("a", kFull)});
  REQUIRE(stored.ok());
  CHECK(stored->dtype == "bf16");
  CHECK(stored->kv_dtype == "bf16");
  GroupOptions options = Options(1);
  options.dtype = "f32";
  CHECK(DecideGroup(options, {Rank("a", kFull)})->kv_dtype == "f32");
  options.kv_dtype = "int8";
  const auto coded = DecideGroup(options, {Rank("a", kFull)});
  REQUIRE(coded.ok());
  CHECK(coded->kv_dtype == "int8");
  CHECK(coded->facts.numerics_id.find("/kv=int8/") != std::string::npos);
  options.kv_dtype = "int3";
  CHECK(absl::IsUnimplemented(DecideGroup(options, {Rank("a", kFull)}).status()));
}

TEST_CASE("the communicator follows where the ranks are") {
  CHECK(ResolveComm(Options(1)) == "none");
  CHECK(ResolveComm(Options(2)) == "shm");
  GroupOptions options = Options(2);
  options.workers = {"a:1", "b:1"};
  CHECK(ResolveComm(options) == "gloo");
  options.comm = "mpi";
  CHECK(ResolveComm(options) == "mpi");
  absl::Status status = DecideGroup(options, {Rank("a", kFull), Rank("b", kFull)}).status();
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(std::string(status.message()).find("rank 0 has only shm, gloo") != std::string::npos);
}

TEST_CASE("ranks of one host share its memory, others have their own") {
  GroupOptions options = Options(2);
  options.max_num_seqs = 64;
  uint64_t memory = 300 << 20;
  auto together = DecideGroup(options, {Rank("a", kFull, memory), Rank("a", kFull, memory)});
  auto apart = DecideGroup(options, {Rank("a", kFull, memory), Rank("b", kFull, memory)});
  REQUIRE(together.ok());
  REQUIRE(apart.ok());
  CHECK(together->facts.num_kv_blocks < apart->facts.num_kv_blocks);
}

TEST_CASE("a model that does not fit is refused with the numbers") {
  absl::Status status = DecideGroup(Options(1), {Rank("a", kFull, 1 << 20)}).status();
  CHECK(absl::IsFailedPrecondition(status));
}

TEST_CASE("local ranks share the threads, remote ones choose their own") {
  GroupOptions options = Options(2);
  options.cpus = {0, 1, 2, 3, 4, 5, 6, 7};
  Descriptions ranks = {Rank("a", kFull), Rank("a", kFull)};
  auto plan = DecideGroup(options, ranks);
  REQUIRE(plan.ok());
  CHECK((*LoadCommands(options, *plan, ranks))[0].threads() == 4);
  options.threads = 3;
  CHECK((*LoadCommands(options, *plan, ranks))[1].threads() == 1);
  options.workers = {"a:1", "a:2"};
  CHECK((*LoadCommands(options, *plan, ranks))[0].threads() == 0);
}

// A rank whose host has CUDA devices, beside the CPU's sets.
internal::v1::Description CudaRank(const std::string& host, uint32_t devices, uint64_t free) {
  Sets sets = {{"cuda", "cuda-1"}, {"cuda-exact", "cuda-exact-1"}};
  sets.insert(sets.end(), kFull.begin(), kFull.end());
  internal::v1::Description description = Rank(host, sets);
  description.set_device("cuda: 1 x a device");
  description.set_cuda_devices(devices);
  description.set_cuda_memory_bytes(free);
  return description;
}

TEST_CASE("auto takes CUDA where every rank has it, and says why where it does not") {
  GroupOptions options = Options(2);
  const uint64_t memory = uint64_t{4} << 30;
  auto plan = DecideGroup(options, {CudaRank("a", 2, memory), CudaRank("a", 2, memory)});
  REQUIRE(plan.ok());
  CHECK(plan->kernel_numerics == "cuda-1");
  CHECK(plan->device == "cuda: 1 x a device (auto: every rank has one)");
  internal::v1::Description without = Rank("b", kFull);
  without.set_cuda_problem("cuda: there is no NVIDIA driver");
  plan = DecideGroup(options, {CudaRank("a", 1, memory), without});
  REQUIRE(plan.ok());
  CHECK(plan->kernel_numerics == "fma");
  CHECK(plan->device == "CPU (auto: rank 1 on b: cuda: there is no NVIDIA driver)");
}

TEST_CASE("slots of ranks on devices lie in the memory of their hosts, which must have it") {
  GroupOptions options = Options(2);
  const uint64_t memory = uint64_t{4} << 30;
  const Descriptions together = {CudaRank("a", 2, memory), CudaRank("a", 2, memory)};
  const Descriptions apart = {CudaRank("a", 1, memory), CudaRank("b", 1, memory)};
  const auto without = DecideGroup(options, together);
  REQUIRE(without.ok());
  options.kv_offload_bytes = 400 << 20;  // each; a host has 1 GiB
  const auto plan = DecideGroup(options, together);
  REQUIRE(plan.ok());
  CHECK(plan->facts.num_kv_slots > 0);
  CHECK(plan->facts.num_kv_blocks == without->facts.num_kv_blocks);
  options.kv_offload_bytes = 800 << 20;
  const auto refused = DecideGroup(options, together);
  CHECK(absl::IsFailedPrecondition(refused.status()));
  CHECK(std::string(refused.status().message()).find("--kv-offload needs 1.5") == 0);
  CHECK(DecideGroup(options, apart).ok());
  options.kv_offload_dir = "/somewhere";
  CHECK(DecideGroup(options, together).ok());
}

TEST_CASE("device cuda is refused with what the rank says is missing") {
  GroupOptions options = Options(1);
  options.device = "cuda";
  internal::v1::Description without = Rank("b", {});
  without.set_cuda_problem("cuda: there is no NVIDIA driver");
  const auto plan = DecideGroup(options, {without});
  CHECK(plan.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(plan.status().message() == "--device cuda: rank 0 on b: cuda: there is no NVIDIA driver");
}

TEST_CASE("device cpu leaves a device alone") {
  GroupOptions options = Options(1);
  options.device = "cpu";
  const auto plan = DecideGroup(options, {CudaRank("a", 1, uint64_t{4} << 30)});
  REQUIRE(plan.ok());
  CHECK(plan->kernel_numerics == "fma");
  CHECK(plan->device == "CPU (--device cpu)");
}

TEST_CASE("auto takes NCCL where every rank has it and a device of its own") {
  GroupOptions options = Options(2);
  internal::v1::Description rank = CudaRank("a", 2, uint64_t{4} << 30);
  rank.add_comms("nccl");
  CHECK(DecideGroup(options, {rank, rank})->comm == "nccl");
  rank.set_cuda_devices(1);
  CHECK(DecideGroup(options, {rank, rank})->comm == "shm");
}

TEST_CASE("ranks that share a device share its memory") {
  GroupOptions options = Options(4);
  options.max_num_seqs = 16;  // so many that memory is what limits
  const uint64_t memory = uint64_t{96} << 20;
  Descriptions one(4, CudaRank("a", 1, memory));
  Descriptions four(4, CudaRank("a", 4, memory));
  const auto shared = DecideGroup(options, one);
  const auto own = DecideGroup(options, four);
  REQUIRE(own.ok());
  CHECK((!shared.ok() || shared->facts.num_kv_blocks < own->facts.num_kv_blocks));
}

TEST_CASE("groups of one server are planned together: the same numerics, and parts of one memory") {
  GroupOptions options = Options(1);
  options.num_kv_blocks = 0;
  options.max_num_seqs = 64;
  options.max_num_batched_tokens = 64;
  const uint64_t memory = uint64_t{200} << 20;
  const auto alone = DecideGroup(options, {Rank("a", kFull, memory)});
  REQUIRE(alone.ok());
  options.num_replicas = 2;
  GroupOptions other = options;
  other.replica = 1;
  SharedPlan shared;
  {
    Seat first(&shared, &options, {Rank("a", kFull, 2 * memory)});
    CHECK_FALSE(first.Poll()->has_value());
    Seat second(&shared, &other, {Rank("a", kOld, 2 * memory)});
    auto plan = second.Poll();
    REQUIRE(plan.ok());
    REQUIRE(plan->has_value());
    CHECK((*plan)->facts.num_kv_blocks == alone->facts.num_kv_blocks);
    CHECK((*first.Poll())->facts.numerics_id == (*plan)->facts.numerics_id);
  }
  Seat later(&shared, &options, {Rank("a", kFull, memory / 4)});  // the plan stays
  CHECK((*later.Poll())->facts.num_kv_blocks == alone->facts.num_kv_blocks);

  // On hosts of their own each has all of it.
  const auto apart = DecideGroup(options, {Rank("a", kFull, memory), Rank("b", kFull, memory)});
  CHECK(apart->facts.num_kv_blocks == alone->facts.num_kv_blocks);
}

TEST_CASE("a plan that cannot be is told to all of its groups once, and decided anew with others") {
  GroupOptions options = Options(1);
  options.num_replicas = 2;
  options.kernels = "avx512";
  GroupOptions other = options;
  other.replica = 1;
  SharedPlan shared;
  auto first = std::make_unique<Seat>(&shared, &options, Descriptions{Rank("a", kFull)});
  auto second = std::make_unique<Seat>(&shared, &other, Descriptions{Rank("b", kOld)});
  CHECK(absl::IsFailedPrecondition(first->Poll().status()));
  CHECK(absl::IsFailedPrecondition(second->Poll().status()));
  // One machine is replaced; the other group has not been asked yet, and was in the failed plan.
  second = nullptr;
  second = std::make_unique<Seat>(&shared, &other, Descriptions{Rank("c", kFull)});
  CHECK_FALSE(second->Poll()->has_value());
  CHECK(absl::IsFailedPrecondition(first->Poll().status()));
  first = nullptr;
  CHECK_FALSE(second->Poll()->has_value());
  first = std::make_unique<Seat>(&shared, &options, Descriptions{Rank("a", kFull)});
  REQUIRE(second->Poll().ok());
  REQUIRE(second->Poll()->has_value());
  CHECK((*first->Poll())->facts.numerics_id == (*second->Poll())->facts.numerics_id);
  // Who comes later gets what was decided, whatever its ranks are.
  second = nullptr;
  second = std::make_unique<Seat>(&shared, &other, Descriptions{Rank("b", kOld)});
  CHECK(second->Poll()->has_value());
}

TEST_CASE("no plan is made of what the ranks of a group said that is gone") {
  GroupOptions options = Options(1);
  options.num_replicas = 2;
  GroupOptions other = options;
  other.replica = 1;
  SharedPlan shared;
  { Seat gone(&shared, &options, {Rank("a", kFull)}); }
  Seat second(&shared, &other, {Rank("b", kFull)});
  CHECK_FALSE(second.Poll()->has_value());
  Seat back(&shared, &options, {Rank("c", kReferenceOnly)});
  REQUIRE(second.Poll()->has_value());
  CHECK((*back.Poll())->kernel_numerics == "ref");
}

TEST_CASE("a group that cannot run what the others run fails the plan, named with its replica") {
  GroupOptions options = Options(2);
  options.num_replicas = 2;
  options.kernels = "avx512";
  const Descriptions all = {Rank("a", kFull), Rank("a", kFull), Rank("b", kFull), Rank("b", kOld)};
  const absl::Status status = DecideGroup(options, all).status();
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(std::string(status.message()).find("rank 1 of replica 1 has avx2") != std::string::npos);
}

TEST_CASE("local groups share out threads and devices") {
  GroupOptions options = Options(2);
  options.num_replicas = 2;
  options.replica = 1;
  options.threads = 8;
  const Descriptions ranks = {Rank("a", kFull), Rank("a", kFull)};
  auto plan = DecideGroup(options, {ranks[0], ranks[1], ranks[0], ranks[1]});
  REQUIRE(plan.ok());
  auto loads = LoadCommands(options, *plan, ranks);
  REQUIRE(loads.ok());
  CHECK((*loads)[1].threads() == 2);
  CHECK((*loads)[1].rank() == 1);
  CHECK((*loads)[1].place() == 3);
  options.cpus = {4, 5, 6, 7, 8, 9, 10, 11};
  CHECK(CpusOfRank(options, 0) == std::vector<int>{8, 9});
}

TEST_CASE(
    "a step takes 256 tokens on CPUs and 2048 elsewhere, unless it is told, or has more to run") {
  GroupOptions options = Options(1);
  options.max_num_batched_tokens = 0;
  auto budget = [&options](const Sets& sets) {
    const auto plan = DecideGroup(options, {Rank("a", sets, uint64_t{64} << 30)});
    REQUIRE(plan.ok());
    return plan->facts.max_num_batched_tokens;
  };
  CHECK(budget(kFull) == 256);
  options.max_num_seqs = 300;
  CHECK(budget(kFull) == 300);
  options.device = "sim";
  CHECK(budget({{"sim", "sim"}}) == 2048);
  options.max_num_batched_tokens = 512;
  CHECK(budget({{"sim", "sim"}}) == 512);
}

}  // namespace
}  // namespace tessera::server
