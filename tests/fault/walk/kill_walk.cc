#include "tests/fault/walk/kill_walk.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <future>
#include <random>

#include "tests/fault/walk/resources.h"
#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

using Clock = std::chrono::steady_clock;

// Every kind of sampling, stop and output, by number.
v1::GenerateRequest Question(int number) {
  std::vector<uint32_t> prompt = {0};
  for (int i = 0; i < 1 + number % 7 * 9; ++i) prompt.push_back(260 + (number * 37 + i * 11) % 700);
  v1::GenerateRequest request = Greedy(prompt, 40 + number % 5 * 25);
  v1::SamplingParams& sampling = *request.mutable_sampling();
  if (number % 2 == 1) {
    sampling.set_temperature(0.9f);
    sampling.set_seed(1000 + number);
    if (number % 3 == 0) sampling.set_top_p(0.95f);
    if (number % 5 == 0) sampling.set_top_k(40);
  }
  if (number % 3 == 1) sampling.set_repetition_penalty(1.15f);
  if (number % 4 == 2) sampling.set_presence_penalty(0.4f);
  if (number % 4 == 3) sampling.set_frequency_penalty(0.3f);
  // Accepted tells the seed, also where nothing is drawn.
  if (!sampling.has_seed()) sampling.set_seed(number);
  v1::StopConditions& stop = *request.mutable_stop();
  stop.set_ignore_eos(number % 3 != 2);
  if (number % 6 == 4) stop.add_strings(" the ");
  if (number % 6 == 5) stop.add_token_ids(17);
  if (number % 6 >= 4) stop.set_min_tokens(20);
  if (number % 3 == 0) request.mutable_output()->set_logprobs(number % 4);
  if (number % 8 == 3) request.mutable_output()->set_prompt_logprobs(2);
  if (number % 10 == 5) sampling.set_n(2 + number % 2);
  if (number % 10 == 9) sampling.set_best_of(3);
  return request;
}

v1::GenerateRequest BeamQuestion(int number) {
  v1::GenerateRequest request = Greedy({0, 300u + number, 581, 601}, 30 + number);
  request.mutable_sampling()->set_beam_width(3);
  request.mutable_sampling()->set_n(2);
  request.mutable_output()->set_logprobs(1);
  if (number > 16) {
    request.mutable_sampling()->add_bad_words("the");
    (*request.mutable_sampling()->mutable_logit_bias())[17] = 1.5f;
    for (uint32_t id = 3; id < 1500; ++id) request.mutable_sampling()->add_allowed_token_ids(id);
  }
  return request;
}

void CheckSame(const Reply& reply, const Reply& expected) {
  CHECK(reply.text == expected.text);
  CHECK(Bits(reply) == Bits(expected));
  REQUIRE(reply.accepted.has_value() == expected.accepted.has_value());
  REQUIRE(reply.finished.has_value());
  if (reply.accepted) {
    CHECK(reply.accepted->SerializeAsString() == expected.accepted->SerializeAsString());
  }
  // What was found in the prefix cache depends on who came before.
  v1::Finished finished = *reply.finished;
  finished.mutable_usage()->set_cached_tokens(expected.finished->usage().cached_tokens());
  CHECK(finished.SerializeAsString() == expected.finished->SerializeAsString());
}

struct Timed {
  Replies replies;
  grpc::Status status;
  Clock::duration longest_pause = {};
};

Timed Ask(Api& api, const v1::GenerateRequest& request) {
  Timed timed;
  grpc::ClientContext context;
  auto reader = api.inference().Generate(&context, request);
  v1::GenerateResponse response;
  auto last = Clock::now();
  // The way to the first token is a wait in the queue as well, and beams are told at their end.
  bool flows = false;
  while (reader->Read(&response)) {
    auto now = Clock::now();
    if (response.has_delta() && flows) {
      timed.longest_pause = std::max(timed.longest_pause, now - last);
    }
    flows |= response.delta().token_ids_size() > 0;
    last = now;
    // Nothing is drawn for beams: their seed means nothing, and is another one each time.
    if (request.sampling().has_beam_width() && response.has_accepted()) {
      response.mutable_accepted()->clear_seed();
    }
    Add(response, timed.replies);
  }
  timed.status = reader->Finish();
  return timed;
}

void CheckSame(const Timed& timed, const Timed& expected) {
  INFO(timed.status.error_message());
  REQUIRE(timed.status.ok());
  REQUIRE(timed.replies.size() == expected.replies.size());
  for (const auto& [index, reply] : timed.replies) {
    INFO("sequence " << index);
    CheckSame(reply, expected.replies.at(index));
  }
}

// Sends signals to the workers of a server, at random.
class Killer {
 public:
  Killer(const WalkOptions& options, Server& server)
      : options_(options), server_(server), api_(server.target()), random_(options.seed) {}

  void Run() {
    for (int loss = 0; loss < options_.losses; ++loss) {
      // Now and then before anything has been gained since the last one, but not twice running: a
      // request that dies three times without a token counts as poisonous.
      bool at_once = loss % 3 == 2;
      if (!at_once) AwaitTokens();
      std::this_thread::sleep_for(std::chrono::milliseconds(Pick(at_once ? 60 : 250)));
      Lose();
    }
  }

 private:
  uint64_t Pick(uint64_t below) { return random_() % below; }

  void AwaitTokens() {
    uint64_t before = api_.Status().engine().completion_tokens_total();
    REQUIRE(api_.AwaitStatus([&](const v1::ServerStatus& status) {
      return status.engine().completion_tokens_total() > before + 64;
    }));
  }

  void Lose() {
    int signal_number = options_.stops && Pick(3) == 0 ? SIGSTOP : SIGKILL;
    std::vector<pid_t> workers;
    auto deadline = Clock::now() + kHangLimit;
    while (workers.empty() && Clock::now() < deadline)
      workers = ChildrenOf(server_.process().pid());
    REQUIRE_FALSE(workers.empty());
    if (Pick(4) != 0) workers = {workers[Pick(workers.size())]};
    for (pid_t worker : workers) kill(worker, signal_number);
  }

  const WalkOptions& options_;
  Server& server_;
  Api api_;
  std::mt19937_64 random_;
};

}  // namespace

void WalkAndCheck(const WalkOptions& options) {
  std::vector<std::string> flags = {"--model", DemoModel().string(), "--log-level", "warning"};
  flags.insert(flags.end(), options.layout.begin(), options.layout.end());
  Server server(flags);
  Api api(server.target());
  std::vector<v1::GenerateRequest> questions;
  for (int i = 0; i < options.streams; ++i) {
    questions.push_back(i % 16 == 11 ? BeamQuestion(i) : Question(i));
  }
  auto ask_all = [&](auto&& done) {
    std::vector<std::future<std::vector<Timed>>> futures;
    for (const auto& question : questions) {
      futures.push_back(std::async(std::launch::async, [&api, &question, done] {
        std::vector<Timed> answers;
        do answers.push_back(Ask(api, question));
        while (!done());
        return answers;
      }));
    }
    std::vector<std::vector<Timed>> answers;
    for (auto& future : futures) answers.push_back(future.get());
    return answers;
  };
  auto undisturbed = ask_all([] { return true; });
  for (const auto& answer : undisturbed) REQUIRE(answer[0].status.ok());

  std::atomic<bool> over = false;
  auto walk = std::async(std::launch::async, [&] {
    Killer(options, server).Run();
    over = true;
  });
  auto disturbed = ask_all([&over] { return over.load(); });
  walk.get();
  Clock::duration longest = {};
  size_t count = 0;
  for (size_t i = 0; i < disturbed.size(); ++i) {
    for (const Timed& timed : disturbed[i]) {
      INFO("stream " << i << ", answer " << count);
      CheckSame(timed, undisturbed[i][0]);
      longest = std::max(longest, timed.longest_pause);
      ++count;
    }
  }
  REQUIRE(api.AwaitStatus([](const v1::ServerStatus& status) {
    bool ready = status.state() == v1::ServerStatus::READY;
    for (const v1::GroupStatus& group : status.groups()) {
      ready = ready && group.state() == v1::ServerStatus::READY;
    }
    return ready;
  }));
  v1::ServerStatus status = api.Status();
  CHECK(status.engine().requests_failed() == 0);
  CHECK(status.engine().kv_blocks_free() == status.engine().kv_blocks_total());
  for (const v1::GroupStatus& group : status.groups()) CHECK(group.restarts() > 0);
  std::printf("%d losses, %zu streams, the longest pause %.0f ms\n", options.losses, count,
              std::chrono::duration<double, std::milli>(longest).count());
  CHECK(server.Stop() == 0);
}

}  // namespace tessera::tests
