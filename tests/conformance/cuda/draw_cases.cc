#include "tests/conformance/cuda/draw_cases.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "shard_loader/plan/device_scratch.h"
#include "shard_loader/plan/workspace.h"
#include "worker/backend/kernel_sets.h"
#include "worker/sampling/sampler.h"

namespace tessera::tests {
namespace {

using worker::DrawnRow;
using worker::DrawRow;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One row: its logits, what the Sampler is asked, and the same for the device.
struct Case {
  std::vector<float> logits;
  std::vector<uint32_t> ids;
  std::vector<uint32_t> masked;
  worker::Restrictions restrictions;
  worker::DrawContext context;
  std::vector<worker::IdBias> biases;
  std::vector<uint32_t> forbidden;
  DrawRow row;
};

float Logit(std::mt19937& random, uint64_t kind) {
  const float x = static_cast<float>(static_cast<int32_t>(random())) * 3e-9f;  // [-6.4, 6.4]
  if (kind % 3 == 0) return std::round(x);                                     // many ties
  if (kind % 7 == 0 && random() % 3 == 0) return -kInfinity;
  if (kind % 5 == 0) return x * 1e-3f;  // nearly flat
  return random() % 50 == 0 ? -0.0f : x;
}

void Choose(std::mt19937& random, int64_t vocab, uint64_t kind, Case* test) {
  auto id = [&] { return static_cast<uint32_t>(random() % vocab); };
  auto one_of = [&](std::vector<float> values) { return values[random() % values.size()]; };
  worker::SamplingParams& params = test->context.params;
  params.temperature = one_of({0.0f, 0.7f, 1.0f, 1.0f, 2.5f});
  params.top_k = static_cast<int32_t>(one_of({0, -1, 1, 5, 40, 3000}));
  params.top_p = one_of({1.0f, 0.9f, 0.5f, 0.999f});
  params.min_p = one_of({0.0f, 0.0f, 0.05f});
  params.repetition_penalty = one_of({1.0f, 1.0f, 1.3f});
  params.presence_penalty = one_of({0.0f, 0.0f, 0.5f});
  params.frequency_penalty = one_of({0.0f, 0.0f, 0.25f});
  params.seed = (uint64_t{random()} << 32) | random();
  for (int i = 0; i < 30; ++i) test->ids.push_back(i % 3 == 0 ? id() % 8 : id());
  test->context.prompt_length = 11;
  test->context.sequence_index = random() % 4;
  if (kind % 4 == 1) test->masked = {id(), id()};
  if (kind % 4 == 2) {
    for (int i = 0; i < 20; ++i) test->restrictions.allowed_ids.push_back(id());
  }
  if (kind % 4 == 3) {
    test->restrictions.bad_words = {{id()}, {test->ids.back(), id()}, {id(), id()}};
    test->restrictions.logit_bias = {{3, 2.5f}, {5, -40.0f}};
  }
}

// As worker/runner asks.
void Ask(Case* test) {
  const worker::SamplingParams& params = test->context.params;
  test->context.ids = test->ids;
  test->context.masked_ids = test->masked;
  test->context.restrictions = &test->restrictions;
  test->forbidden = test->masked;
  const auto generated = absl::MakeSpan(test->ids).subspan(test->context.prompt_length);
  const auto bad = worker::ForbiddenIds(test->restrictions, generated);
  test->forbidden.insert(test->forbidden.end(), bad.begin(), bad.end());
  for (const auto& each : test->restrictions.logit_bias) {
    test->biases.push_back({each.id, each.bias});
  }
  DrawRow& row = test->row;
  row.temperature = params.temperature;
  row.top_k = params.top_k;
  row.top_p = params.top_p;
  row.min_p = params.min_p;
  row.repetition_penalty = params.repetition_penalty;
  row.presence_penalty = params.presence_penalty;
  row.frequency_penalty = params.frequency_penalty;
  row.seed = params.seed;
  row.sequence_index = test->context.sequence_index;
  row.ids = test->ids;
  row.prompt_length = test->context.prompt_length;
  row.allowed = test->restrictions.allowed_ids;
  row.forbidden = test->forbidden;
  row.biases = test->biases;
}

std::unique_ptr<Case> MakeCase(std::mt19937& random, int64_t vocab, uint64_t kind) {
  auto test = std::make_unique<Case>();
  for (int64_t i = 0; i < vocab; ++i) test->logits.push_back(Logit(random, kind));
  Choose(random, vocab, kind, test.get());
  if (kind % 16 == 5) test->logits[vocab / 2] = std::numeric_limits<float>::quiet_NaN();
  if (kind % 16 == 6) std::fill(test->logits.begin() + 8, test->logits.end(), -kInfinity);
  Ask(test.get());
  test->row.top = static_cast<int32_t>(kind % 3 == 0 ? 20 : kind % 3);
  if (kind % 8 == 7) {  // of a prompt
    test->row.draws = false;
    test->row.id = 7;
  }
  return test;
}

bool SameFloat(float a, float b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

void CheckRow(worker::Sampler& sampler, const Case& test, const DrawnRow& drawn) {
  const auto log_sum = sampler.LogSumExp(test.logits.data());
  if (!log_sum.ok()) {
    CHECK(drawn.outcome == DrawnRow::Outcome::kNotFinite);
    return;
  }
  uint32_t id = test.row.id;
  if (test.row.draws) {
    const auto token = sampler.Draw(test.logits.data(), test.context);
    if (!token.ok()) {
      CHECK(drawn.outcome == DrawnRow::Outcome::kNothingToDraw);
      return;
    }
    id = *token;
  }
  const worker::Logprobs expected =
      sampler.LogprobsOf(test.logits.data(), *log_sum, id, test.row.top);
  REQUIRE(drawn.outcome == DrawnRow::Outcome::kDrawn);
  CHECK(drawn.id == id);
  CHECK(SameFloat(drawn.logprob, expected.chosen));
  REQUIRE(drawn.top.size() == expected.top.size());
  for (size_t i = 0; i < expected.top.size(); ++i) {
    CHECK(drawn.top[i].id == expected.top[i].id);
    CHECK(SameFloat(drawn.top[i].logprob, expected.top[i].logprob));
  }
}

struct Batch {
  Batch(worker::Backend& device, uint64_t seed, int64_t vocab, int64_t rows) : vocab(vocab) {
    std::mt19937 random(static_cast<uint32_t>(seed));
    std::vector<float> logits;
    for (int64_t r = 0; r < rows; ++r) {
      cases.push_back(MakeCase(random, vocab, seed * 5 + static_cast<uint64_t>(r)));
      cases.back()->row.row = r;
      logits.insert(logits.end(), cases.back()->logits.begin(), cases.back()->logits.end());
    }
    const int64_t bytes = static_cast<int64_t>(logits.size() * sizeof(float));
    auto room = device.memory().Allocate(bytes, "a test");
    REQUIRE(room.ok());
    buffer = *std::move(room);
    device.memory().CopyIn(logits.data(), bytes, buffer.data());
    REQUIRE(device.memory().Finish().ok());
  }
  std::vector<DrawRow> Rows() const {
    std::vector<DrawRow> rows;
    for (const auto& each : cases) rows.push_back(each->row);
    return rows;
  }
  worker::DrawArgs Args(int64_t block) {
    return {buffer.floats(0), static_cast<int64_t>(cases.size()), vocab, block};
  }
  int64_t vocab;
  std::vector<std::unique_ptr<Case>> cases;
  worker::Buffer buffer;
};

void CheckBatch(worker::Backend& device, Batch& batch, int64_t block) {
  const absl::Status started = device.drawer()->Start(batch.Args(block), batch.Rows());
  INFO(started.ToString());
  REQUIRE(started.ok());
  const auto drawn = device.drawer()->Collect();
  REQUIRE(drawn.ok());
  REQUIRE(drawn->size() == batch.cases.size());
  auto cpu = worker::MakeBackend("generic", 1);
  REQUIRE(cpu.ok());
  std::vector<std::byte> scratch(batch.vocab * shard_loader::kSamplingBytesPerId + 64);
  void* aligned = scratch.data();
  size_t room = scratch.size();
  std::align(64, scratch.size() - 64, aligned, room);
  worker::Sampler sampler(cpu->get(), batch.vocab, block,
                          absl::MakeSpan(static_cast<std::byte*>(aligned), room));
  for (size_t r = 0; r < batch.cases.size(); ++r) {
    INFO("row " << r);
    CheckRow(sampler, *batch.cases[r], (*drawn)[r]);
  }
}

}  // namespace

void DrawsAreTheSamplers(worker::Backend& device, int seeds) {
  struct Size {
    int64_t vocab;
    int64_t block;
  };
  constexpr Size kSizes[] = {{512, 64}, {509, 32}, {1501, 128}, {40, 4}};
  for (int seed = 0; seed < seeds; ++seed) {
    const Size& size = kSizes[seed % 4];
    INFO("seed " << seed << ", " << size.vocab << " ids");
    Batch batch(device, static_cast<uint64_t>(seed), size.vocab, 9);
    CheckBatch(device, batch, size.block);
  }
}

void DrawsFitTheirRoom(worker::Backend& device) {
  constexpr int64_t kVocab = 300, kBlock = 32, kRows = 6;
  shard_loader::DeviceScratch scratch;
  scratch.most_draws = kRows;
  scratch.draw_lists = 120 * 4;  // of a row or two
  scratch.draw_rows =
      kRows * (kVocab * shard_loader::kDeviceDrawBytesPerId +
               10 * shard_loader::kDeviceDrawBytesPerBlock + shard_loader::kDeviceDrawBytesPerRow);
  REQUIRE(device.Reserve(scratch).ok());
  Batch batch(device, 3, kVocab, kRows);
  CheckBatch(device, batch, kBlock);
  Batch more(device, 4, kVocab, kRows + 1);
  const absl::Status refused = device.drawer()->Start(more.Args(kBlock), more.Rows());
  CHECK(refused.code() == absl::StatusCode::kInternal);
  CHECK(refused.message().find("were planned") != absl::string_view::npos);
}

}  // namespace tessera::tests
