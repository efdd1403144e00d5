// How often the ranks of a stage exchange bytes in a forward pass.
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <utility>

#include "tests/golden/model/group.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

using worker::Communicator;

// Counts collectives that carry bytes.
class Counting : public Communicator {
 public:
  Counting(std::unique_ptr<Communicator> inner, std::atomic<int64_t>* count)
      : inner_(std::move(inner)), count_(count) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  absl::Status AllGather(absl::Span<const std::byte> send,
                         absl::Span<const absl::Span<std::byte>> recv) override {
    ++*count_;
    return inner_->AllGather(send, recv);
  }
  absl::Status AllToAll(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> recv) override {
    ++*count_;
    return inner_->AllToAll(send, recv);
  }
  absl::Status Send(int peer, uint64_t tag, absl::Span<const std::byte> bytes) override {
    return inner_->Send(peer, tag, bytes);
  }
  absl::Status Recv(int peer, uint64_t tag, absl::Span<std::byte> bytes) override {
    return inner_->Recv(peer, tag, bytes);
  }
  absl::Status Barrier() override { return inner_->Barrier(); }
  void Abort(absl::Status why) override { inner_->Abort(std::move(why)); }

 private:
  const std::unique_ptr<Communicator> inner_;
  std::atomic<int64_t>* const count_;
};

struct Exchanges {
  int64_t layers = 0;
  int64_t rows = 0;    // of one rank, in a step of one row
  int64_t prompt = 0;  // in a step of a prompt whose sums go two-shot
};

Exchanges Count(const std::string& name) {
  std::atomic<int64_t> count = 0;
  GroupOptions options;
  options.tp = 2;
  options.wrap_tensor = [&count](std::unique_ptr<Communicator> inner) {
    return std::make_unique<Counting>(std::move(inner), &count);
  };
  Group group(Fixture("checkpoints/" + name), options);
  const auto step = [&](uint32_t tokens) {
    worker::SequenceStart start = GreedyStart(std::vector<uint32_t>(tokens, 5), 1);
    start.sequence = tokens;
    start.admission = 1;
    worker::StepInput input;
    input.step = tokens;
    input.starts = {start};
    worker::SequenceStep& entry = input.entries.emplace_back();
    entry.sequence = tokens;
    entry.num_tokens = tokens;
    for (uint32_t block = 0; block * 16 < tokens; ++block) {
      entry.new_blocks.push_back(tokens / 2 + block);
    }
    count = 0;
    REQUIRE(group.Run(input).ok());
    return count / 2;
  };
  Exchanges exchanges;
  exchanges.layers = group.spec().num_layers;
  exchanges.rows = step(1);
  REQUIRE(group.spec().hidden_size * 250 >= 8192);
  exchanges.prompt = step(250);
  return exchanges;
}

TEST_CASE("a sequential block exchanges twice, a parallel one once, both its sums side by side") {
  const Exchanges sequential = Count("llama3_gqa");
  const Exchanges parallel = Count("cohere");
  // Beside the layers: the embedding, the logits and the ids, the same for both.
  const int64_t rest = sequential.rows - 2 * sequential.layers;
  CHECK(rest >= 2);
  CHECK(rest <= 3);
  CHECK(parallel.rows == parallel.layers + rest);
  // Two-shot an exchange is two collectives.
  CHECK(sequential.prompt == 4 * sequential.layers + rest);
  CHECK(parallel.prompt == 2 * parallel.layers + rest);
}

}  // namespace
}  // namespace tessera::tests
