#include "tests/fault/walk/mixed_streams.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <future>

namespace tessera::tests {
namespace {

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

Timed Ask(Api& api, const v1::GenerateRequest& request) {
  Timed timed;
  grpc::ClientContext context;
  auto reader = api.inference().Generate(&context, request);
  v1::GenerateResponse response;
  bool flows = false;
  while (reader->Read(&response)) {
    flows |= response.delta().token_ids_size() > 0;
    if (response.has_delta() && flows) timed.told.push_back(Clock::now());
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

}  // namespace

std::vector<Pause> PausesOf(const std::vector<Timed>& answers) {
  std::vector<Pause> pauses;
  for (const Timed& answer : answers) {
    for (size_t i = 1; i < answer.told.size(); ++i) {
      pauses.push_back({answer.told[i - 1], answer.told[i]});
    }
  }
  return pauses;
}

double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

void AwaitTokens(Api& api, uint64_t count) {
  const uint64_t before = api.Status().engine().completion_tokens_total();
  REQUIRE(api.AwaitStatus([&](const v1::ServerStatus& status) {
    return status.engine().completion_tokens_total() > before + count;
  }));
}

MixedStreams::MixedStreams(Api& api, int count) : api_(api) {
  for (int i = 0; i < count; ++i) {
    questions_.push_back(i % 16 == 11 ? BeamQuestion(i) : Question(i));
  }
  for (auto& answers : AskAll([] { return true; }, [] {})) {
    REQUIRE(answers[0].status.ok());
    undisturbed_.push_back(std::move(answers[0]));
  }
}

std::vector<std::vector<Timed>> MixedStreams::AskAll(const std::function<bool()>& over,
                                                     const std::function<void()>& meanwhile) {
  std::vector<std::future<std::vector<Timed>>> futures;
  for (const auto& question : questions_) {
    futures.push_back(std::async(std::launch::async, [this, &question, &over] {
      std::vector<Timed> answers;
      do answers.push_back(Ask(api_, question));
      while (!over());
      return answers;
    }));
  }
  meanwhile();
  std::vector<std::vector<Timed>> answers;
  for (auto& future : futures) answers.push_back(future.get());
  return answers;
}

std::vector<Timed> MixedStreams::AskDuring(const std::function<void()>& disturb) {
  std::atomic<bool> over = false;
  // Also where `disturb` throws: the streams must not go on for ever.
  struct AtEnd {
    std::atomic<bool>& over;
    ~AtEnd() { over = true; }
  };
  auto disturbed = AskAll([&over] { return over.load(); },
                          [&] {
                            AtEnd at_end{over};
                            disturb();
                          });
  std::vector<Timed> all;
  for (size_t i = 0; i < disturbed.size(); ++i) {
    for (Timed& timed : disturbed[i]) {
      INFO("stream " << i << ", answer " << all.size());
      CheckSame(timed, undisturbed_[i]);
      all.push_back(std::move(timed));
    }
  }
  return all;
}

void MixedStreams::CheckNothingLost() {
  REQUIRE(api_.AwaitStatus([](const v1::ServerStatus& status) {
    bool ready = status.state() == v1::ServerStatus::READY;
    for (const v1::GroupStatus& group : status.groups()) {
      ready = ready && group.state() == v1::ServerStatus::READY;
    }
    return ready;
  }));
  const v1::ServerStatus status = api_.Status();
  CHECK(status.engine().requests_failed() == 0);
  CHECK(status.engine().kv_blocks_free() == status.engine().kv_blocks_total());
}

}  // namespace tessera::tests
