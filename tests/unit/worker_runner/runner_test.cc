#include "worker/runner/runner.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/workspace.h"
#include "tests/support/fixtures.h"
#include "worker/comm/local_communicator.h"

namespace tessera::worker {
namespace {

std::unique_ptr<shard_loader::Checkpoint> OpenSmall() {
  auto checkpoint = shard_loader::Checkpoint::Open(tests::Fixture("checkpoints/llama_small"));
  REQUIRE(checkpoint.ok());
  return *std::move(checkpoint);
}

RunnerOptions Options(const shard_loader::Checkpoint& checkpoint, int tp = 1, int rank = 0) {
  RunnerOptions options;
  options.spec = checkpoint.spec();
  options.plan = (*shard_loader::MakeRankPlans(checkpoint.spec(), {tp, 1, 8}))[rank];
  options.num_kv_blocks = 16;
  options.max_model_len = 128;
  options.max_num_batched_tokens = 64;
  options.max_num_seqs = 4;
  options.threads = 1;
  return options;
}

std::unique_ptr<Runner> Make(const RunnerOptions& options,
                             const shard_loader::Checkpoint& checkpoint) {
  auto runner = Runner::Create(options, checkpoint, nullptr);
  REQUIRE(runner.ok());
  return *std::move(runner);
}

std::unique_ptr<Runner> MakeConnected() {
  const auto checkpoint = OpenSmall();
  auto runner = Make(Options(*checkpoint), *checkpoint);
  REQUIRE(runner->Connect(std::move(MakeLocalComms(1, 1, absl::Seconds(10))[0])).ok());
  return runner;
}

StepInput FirstStep(uint64_t sequence = 1) {
  SequenceStart start;
  start.sequence = sequence;
  start.admission = 3;
  start.token_ids = {5, 6, 7};
  start.prompt_length = 3;
  start.sampling.temperature = 0;
  start.max_tokens = 2;
  StepInput step;
  step.step = 8;
  step.starts = {start};
  step.entries = {{sequence, 3, {0}}};
  return step;
}

TEST_CASE("a runner answers a step with tokens, and says what it did") {
  auto runner = MakeConnected();
  CHECK(runner->progress() == 0);
  auto output = runner->Run(FirstStep());
  REQUIRE(output.ok());
  CHECK(output->step == 8);
  REQUIRE(output->results.size() == 1);
  const SequenceResult& result = output->results[0];
  CHECK(result.sequence == 1);
  CHECK(result.admission == 3);
  CHECK(result.finish == Finish::kRunning);
  REQUIRE(result.tokens.size() == 1);
  CHECK(result.tokens[0].top.empty());
  CHECK(result.tokens[0].logprob < 0);
  CHECK(runner->progress() == 4);  // layers

  StepInput next;
  next.step = 9;
  next.entries = {{1, 1, {}}};
  output = runner->Run(next);
  REQUIRE(output.ok());
  CHECK(output->results[0].finish == Finish::kLength);
  CHECK(runner->progress() == 8);

  output = runner->Run(next);  // it has ended: nothing to do, nothing to say
  REQUIRE(output.ok());
  CHECK(output->results.empty());
  CHECK(runner->progress() == 8);
}

TEST_CASE("the hash of the ids is FNV-1a of sequence and id, little-endian") {
  auto runner = MakeConnected();
  const auto output = runner->Run(FirstStep(0x0102));
  REQUIRE(output.ok());
  const uint32_t id = output->results[0].tokens[0].id;
  uint64_t hash = 0xcbf29ce484222325;
  for (uint64_t byte : {0x02, 0x01, 0, 0, 0, 0, 0, 0}) hash = (hash ^ byte) * 0x100000001b3;
  for (int i = 0; i < 4; ++i) hash = (hash ^ (id >> (8 * i) & 0xff)) * 0x100000001b3;
  CHECK(output->ids_hash == hash);
  StepInput empty;
  CHECK(runner->Run(empty)->ids_hash == 0xcbf29ce484222325);
}

TEST_CASE("a step that contradicts the runner's state is refused, and the runner goes on") {
  auto runner = MakeConnected();
  StepInput unknown;
  unknown.entries = {{77, 1, {}}};
  CHECK(absl::IsInternal(runner->Run(unknown).status()));
  CHECK(runner->Run(FirstStep()).ok());
}

// Ids and logprobs of a greedy continuation, a token a step from where `step` leaves it.
std::vector<std::pair<uint32_t, float>> Continue(Runner& runner, StepInput step, int steps) {
  std::vector<std::pair<uint32_t, float>> drawn;
  const uint64_t sequence = step.entries[0].sequence;
  for (int i = 0; i < steps; ++i) {
    const auto output = runner.Run(step);
    REQUIRE(output.ok());
    for (const SequenceResult& result : output->results) {
      if (result.sequence != sequence) continue;
      for (const Token& token : result.tokens) drawn.push_back({token.id, token.logprob});
    }
    step = {.step = step.step + 1, .entries = {{sequence, 1, {}}}};
  }
  return drawn;
}

SequenceStart GreedyStart(uint32_t prompt_length, uint32_t max_tokens) {
  SequenceStart start;
  start.sequence = 1;
  for (uint32_t i = 0; i < prompt_length; ++i) start.token_ids.push_back(3 + i * 7 % 50);
  start.prompt_length = prompt_length;
  start.sampling.temperature = 0;
  start.max_tokens = max_tokens;
  return start;
}

TEST_CASE("a start on cached blocks, shared or copied, goes on with the same bits") {
  auto runner = MakeConnected();
  SequenceStart start = GreedyStart(20, 10);
  const auto whole =
      Continue(*runner, {.step = 1, .starts = {start}, .entries = {{1, 20, {0, 1}}}}, 6);
  REQUIRE(whole.size() == 6);

  // A hit: the first block is another's, the rest is computed.
  start.sequence = 2;
  start.cached_tokens = 16;
  start.blocks = {0};
  CHECK(Continue(*runner, {.step = 20, .starts = {start}, .entries = {{2, 4, {2}}}}, 6) == whole);
  // A fork: of the second block, which its origin has written on in, it has a copy.
  start.sequence = 3;
  start.cached_tokens = 19;
  start.blocks = {0, 3};
  CHECK(Continue(*runner,
                 {.step = 40, .starts = {start}, .entries = {{3, 1, {}}}, .copies = {{1, 3}}},
                 6) == whole);
}

TEST_CASE("a block that is spilled, written over and fetched goes on with the same bits") {
  const auto checkpoint = OpenSmall();
  tests::TempDir folder;
  for (const std::string& dir : {std::string(), folder.path().string()}) {
    RunnerOptions options = Options(*checkpoint);
    options.num_kv_slots = 3;
    options.kv_offload_dir = dir;
    auto runner = Make(options, *checkpoint);
    CHECK(runner->memory().kv_fetch_time > absl::ZeroDuration());
    REQUIRE(runner->Connect(std::move(MakeLocalComms(1, 1, absl::Seconds(10))[0])).ok());
    SequenceStart start = GreedyStart(40, 6);
    const auto whole =
        Continue(*runner, {.step = 1, .starts = {start}, .entries = {{1, 40, {0, 1, 2}}}}, 6);
    REQUIRE(whole.size() == 6);
    // The first two blocks go to slots before another sequence writes over them, in one step.
    SequenceStart other = start;
    other.sequence = 2;
    std::reverse(other.token_ids.begin(), other.token_ids.end());
    StepInput step{.step = 20, .starts = {other}, .entries = {{2, 40, {1, 0, 2}}}};
    step.copies = {{1, 0, BlockCopy::Kind::kSpill}, {0, 2, BlockCopy::Kind::kSpill}};
    CHECK(Continue(*runner, step, 6) != whole);
    start.sequence = 3;
    start.cached_tokens = 32;
    start.blocks = {5, 6};
    step = {.step = 40, .starts = {start}, .entries = {{3, 8, {7}}}};
    step.copies = {{2, 5, BlockCopy::Kind::kFetch}, {0, 6, BlockCopy::Kind::kFetch}};
    CHECK(Continue(*runner, step, 6) == whole);
  }
}

TEST_CASE("a runner whose slots find no folder is not made, and says so") {
  const auto checkpoint = OpenSmall();
  RunnerOptions options = Options(*checkpoint);
  options.num_kv_slots = 3;
  options.kv_offload_dir = "/no/such/folder";
  const auto runner = Runner::Create(options, *checkpoint, nullptr);
  CHECK(absl::IsFailedPrecondition(runner.status()));
  CHECK_THAT(std::string(runner.status().message()),
             Catch::Contains("--kv-offload") && Catch::Contains("/no/such/folder"));
}

TEST_CASE("a start whose cached tokens are not in its blocks is refused") {
  auto runner = MakeConnected();
  StepInput step = FirstStep();
  step.starts[0].cached_tokens = 3;  // one must be left to compute
  step.starts[0].blocks = {0};
  CHECK(absl::IsInternal(runner->Run(step).status()));
  step.starts[0].cached_tokens = 2;
  step.starts[0].blocks = {};
  CHECK(absl::IsInternal(runner->Run(step).status()));
  step.starts[0].blocks = {16};
  CHECK(absl::IsInternal(runner->Run(step).status()));
  step.starts[0].blocks = {1};
  step.entries[0].num_tokens = 1;
  step.copies = {{0, 16}};
  CHECK(absl::IsInternal(runner->Run(step).status()));
  step.copies = {{0, 1}};
  CHECK(runner->Run(step).ok());
}

// The ranks of a pipeline of two stages.
std::vector<std::unique_ptr<Runner>> MakeStages() {
  const auto checkpoint = OpenSmall();
  auto comms = MakeLocalComms(1, 2, absl::Seconds(10));
  std::vector<std::unique_ptr<Runner>> stages;
  for (int rank : {0, 1}) {
    RunnerOptions options = Options(*checkpoint);
    options.plan = (*shard_loader::MakeRankPlans(checkpoint->spec(), {1, 2, 8}))[rank];
    stages.push_back(Make(options, *checkpoint));
    REQUIRE(stages.back()->Connect(std::move(comms[rank])).ok());
  }
  return stages;
}

TEST_CASE("the first stage goes on with other sequences while the last one has not drawn yet") {
  auto stages = MakeStages();
  StepInput first = FirstStep(1);
  StepInput second = FirstStep(2);
  second.entries[0].new_blocks = {1};
  second.step = 9;
  // On one thread: nothing here may wait for the other stage.
  CHECK(stages[0]->RunAhead(first)->empty());
  CHECK(stages[0]->RunAhead(second)->empty());
  CHECK(stages[0]->num_open() == 2);
  const auto drawn = stages[1]->RunAhead(first);
  REQUIRE(drawn.ok());
  REQUIRE(drawn->size() == 1);
  CHECK((*drawn)[0].results.size() == 1);

  // The next token of sequence 1 needs what was drawn: that step is complete then, not the other.
  StepInput third;
  third.step = 10;
  third.entries = {{1, 1, {}}};
  const auto settled = stages[0]->RunAhead(third);
  REQUIRE(settled.ok());
  REQUIRE(settled->size() == 1);
  CHECK((*settled)[0].step == 8);
  CHECK((*settled)[0].ids_hash == (*drawn)[0].ids_hash);
  CHECK((*settled)[0].results.empty());
  CHECK(stages[0]->num_open() == 2);
  std::vector<uint64_t> hashes;
  for (const StepInput& step : {second, third}) {
    hashes.push_back(stages[1]->RunAhead(step)->at(0).ids_hash);
  }
  const auto rest = stages[0]->Settle();
  REQUIRE(rest.ok());
  REQUIRE(rest->size() == 2);
  for (int i : {0, 1}) CHECK((*rest)[i].ids_hash == hashes[i]);
  CHECK(stages[0]->num_open() == 0);
  CHECK(stages[0]->Settle()->empty());
}

TEST_CASE("a step that draws nothing is complete at once, behind those before it") {
  auto stages = MakeStages();
  StepInput chunk = FirstStep(1);
  chunk.entries[0].num_tokens = 2;
  CHECK(stages[0]->RunAhead(chunk)->size() == 1);
  StepInput draws;
  draws.step = 9;
  draws.entries = {{1, 1, {}}};
  CHECK(stages[0]->RunAhead(draws)->empty());
  StepInput other = FirstStep(2);
  other.step = 10;
  other.entries[0] = {2, 2, {1}};
  CHECK(stages[0]->RunAhead(other)->empty());
  for (const StepInput& step : {chunk, draws, other}) REQUIRE(stages[1]->RunAhead(step).ok());
  const auto settled = stages[0]->Settle();
  REQUIRE(settled.ok());
  REQUIRE(settled->size() == 2);
  CHECK((*settled)[1].step == 10);
}

TEST_CASE("a sequence that is ended while its token is being drawn is settled first") {
  auto stages = MakeStages();
  const StepInput first = FirstStep(1);
  StepInput again = FirstStep(1);
  again.step = 9;
  again.ends = {1};
  again.starts[0].admission = 4;
  REQUIRE(stages[0]->RunAhead(first).ok());
  REQUIRE(stages[1]->RunAhead(first).ok());
  CHECK(stages[0]->RunAhead(again)->size() == 1);
  const auto drawn = stages[1]->RunAhead(again);
  REQUIRE(drawn.ok());
  CHECK((*drawn)[0].results[0].admission == 4);
  CHECK(stages[0]->Settle()->at(0).ids_hash == (*drawn)[0].ids_hash);
}

// A copy of the small checkpoint whose embedding of token `id` is NaN.
void WritePoisoned(const std::filesystem::path& to, uint32_t id) {
  const std::filesystem::path from = tests::Fixture("checkpoints/llama_small");
  std::filesystem::copy_file(from / "config.json", to / "config.json");
  std::string file = tests::ReadFile(from / "model.safetensors");
  uint64_t header_size = 0;
  std::memcpy(&header_size, file.data(), sizeof(header_size));
  const auto header = nlohmann::json::parse(file.substr(8, header_size));
  const auto& embedding = header["model.embed_tokens.weight"];
  const uint64_t row = embedding["shape"][1].get<uint64_t>() * 4;
  const uint64_t begin = 8 + header_size + embedding["data_offsets"][0].get<uint64_t>() + id * row;
  std::fill_n(file.begin() + begin, row, '\xff');
  std::ofstream(to / "model.safetensors", std::ios::binary) << file;
}

TEST_CASE("logits that are not numbers fail their request alone") {
  tests::TempDir folder;
  WritePoisoned(folder.path(), 99);
  auto checkpoint = shard_loader::Checkpoint::Open(folder.path());
  REQUIRE(checkpoint.ok());
  auto runner = Make(Options(**checkpoint), **checkpoint);
  REQUIRE(runner->Connect(std::move(MakeLocalComms(1, 1, absl::Seconds(10))[0])).ok());

  StepInput step = FirstStep(1);
  const StepInput second = FirstStep(2);
  step.starts.push_back(second.starts[0]);
  step.starts[1].token_ids = {5, 99, 7};
  step.entries.push_back({2, 3, {1}});
  const auto output = runner->Run(step);
  REQUIRE(output.ok());
  REQUIRE(output->results.size() == 2);
  CHECK(output->results[1].finish == Finish::kFailed);
  CHECK(output->results[1].tokens.empty());
  CHECK_THAT(output->results[1].error, Catch::Contains("not finite"));
  CHECK(output->results[0].finish == Finish::kRunning);

  auto healthy = MakeConnected();
  const auto alone = healthy->Run(FirstStep(1));
  REQUIRE(alone.ok());
  CHECK(alone->results[0].tokens[0].id == output->results[0].tokens[0].id);
  CHECK(alone->results[0].tokens[0].logprob == output->results[0].tokens[0].logprob);
}

TEST_CASE("memory and bytes read are those of the plan") {
  const auto checkpoint = OpenSmall();
  uint64_t last_done = 0, last_total = 0;
  const RunnerOptions options = Options(*checkpoint, 3, 1);
  auto runner = Runner::Create(options, *checkpoint, [&](uint64_t done, uint64_t total) {
    CHECK(done >= last_done);
    last_done = done;
    last_total = total;
  });
  REQUIRE(runner.ok());
  const RunnerMemory& memory = (*runner)->memory();
  CHECK(last_total > 0);
  CHECK(last_done == last_total);
  CHECK(memory.bytes_read == last_total);
  CHECK(memory.bytes_read < checkpoint->total_bytes());
  const auto packed =
      shard_loader::MakePackedLayout(options.spec, options.plan, shard_loader::DType::kF32);
  CHECK(memory.weight_bytes == static_cast<uint64_t>(packed.bytes));
  const auto workspace = shard_loader::MakeWorkspaceLayout(options.spec, options.plan, {64, 4});
  CHECK(memory.workspace_bytes == static_cast<uint64_t>(workspace.bytes()));
  const int64_t per_block =
      shard_loader::KvBytesPerBlock(options.spec, options.plan, shard_loader::DType::kF32);
  CHECK(memory.kv_bytes == static_cast<uint64_t>(16 * per_block));
}

TEST_CASE("options that cannot be are refused") {
  const auto checkpoint = OpenSmall();
  RunnerOptions options = Options(*checkpoint);
  options.kernels = "abacus";
  CHECK(absl::IsInvalidArgument(Runner::Create(options, *checkpoint, nullptr).status()));
  options = Options(*checkpoint);
  options.max_num_batched_tokens = 0;
  CHECK(absl::IsInvalidArgument(Runner::Create(options, *checkpoint, nullptr).status()));
  options = Options(*checkpoint);
  options.num_kv_blocks = 4000000000;
  CHECK(absl::IsResourceExhausted(Runner::Create(options, *checkpoint, nullptr).status()));
}

TEST_CASE("a runner takes only the communicators of its rank, and no step before them") {
  const auto checkpoint = OpenSmall();
  auto runner = Make(Options(*checkpoint, 2, 1), *checkpoint);
  CHECK(absl::IsInternal(runner->Run(FirstStep()).status()));
  auto comms = MakeLocalComms(2, 1, absl::Seconds(10));
  CHECK(absl::IsInvalidArgument(runner->Connect(std::move(comms[0]))));
  CHECK(absl::IsInvalidArgument(runner->Connect({})));
  CHECK(runner->Connect(std::move(comms[1])).ok());
}

TEST_CASE("a runner that waits for its peers ends when it is aborted, and stays so") {
  const auto checkpoint = OpenSmall();
  auto runner = Make(Options(*checkpoint, 2, 0), *checkpoint);
  auto comms = MakeLocalComms(2, 1, absl::Seconds(60));
  REQUIRE(runner->Connect(std::move(comms[0])).ok());
  absl::Status status;
  std::thread waiting([&] { status = runner->Run(FirstStep()).status(); });
  runner->Abort(absl::UnavailableError("the group is given up"));
  waiting.join();
  CHECK(absl::IsCancelled(status));
  CHECK_THAT(std::string(status.message()), Catch::Contains("the group is given up"));
  CHECK(absl::IsCancelled(runner->Run(FirstStep()).status()));
}

}  // namespace
}  // namespace tessera::worker
