// Several answers to one prompt over real workers: n, best_of and beams.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <thread>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

using Ids = std::vector<uint32_t>;

const Ids kPrompt = {0, 581, 601, 261, 520};

v1::GenerateRequest Drawn(uint64_t seed, uint32_t max_tokens) {
  v1::GenerateRequest request = Greedy(kPrompt, max_tokens);
  request.mutable_sampling()->set_temperature(1);
  request.mutable_sampling()->set_seed(seed);
  request.mutable_output()->set_logprobs(1);
  return request;
}

Replies GenerateSeveral(Api& api, const v1::GenerateRequest& request, grpc::Status* status) {
  grpc::ClientContext context;
  auto reader = api.inference().Generate(&context, request);
  Replies replies;
  v1::GenerateResponse response;
  while (reader->Read(&response)) Add(response, replies);
  *status = reader->Finish();
  return replies;
}

Replies GenerateSeveral(Api& api, const v1::GenerateRequest& request) {
  grpc::Status status;
  auto replies = GenerateSeveral(api, request, &status);
  INFO(status.error_message());
  REQUIRE(status.ok());
  for (const auto& [index, reply] : replies) REQUIRE(reply.finished.has_value());
  return replies;
}

double SumOf(const Reply& reply) {
  double sum = 0;
  for (const auto& token : reply.logprobs) sum += double{token.logprob()};
  return sum;
}

TEST_CASE("n answers differ by their index alone, and the best of several are their likeliest") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  v1::GenerateRequest request = Drawn(7, 12);
  const Reply alone = api.Generate(request);
  request.mutable_sampling()->set_n(4);
  auto four = GenerateSeveral(api, request);
  REQUIRE(four.size() == 4);
  CHECK(Bits(four[0]) == Bits(alone));  // the first has index 0, as one alone has
  CHECK(four[0].ids != four[1].ids);
  CHECK(four[1].ids != four[2].ids);
  for (auto& [index, reply] : four) {
    CHECK(reply.finished->usage().prompt_tokens() == kPrompt.size());
    CHECK(reply.finished->usage().completion_tokens() == reply.ids.size());
  }
  auto again = GenerateSeveral(api, request);
  for (auto& [index, reply] : four) CHECK(Bits(reply) == Bits(again[index]));

  request.mutable_sampling()->set_n(2);
  request.mutable_sampling()->set_best_of(4);
  auto best = GenerateSeveral(api, request);
  REQUIRE(best.size() == 2);
  std::vector<std::pair<double, uint32_t>> order;
  for (auto& [index, reply] : four) order.push_back({-SumOf(reply), index});
  std::sort(order.begin(), order.end());
  CHECK(Bits(best[0]) == Bits(four[order[0].second]));
  CHECK(Bits(best[1]) == Bits(four[order[1].second]));
  CHECK(best[0].text == four[order[0].second].text);
}

TEST_CASE("several answers keep their bits where sequences wait for seats and blocks") {
  v1::GenerateRequest request = Drawn(11, 40);
  request.mutable_sampling()->set_n(6);
  request.mutable_stop()->set_ignore_eos(true);
  Replies wide, narrow;
  {
    Server server({"--model", DemoModel().string()});
    Api api(server.target());
    wide = GenerateSeveral(api, request);
  }
  Server server({"--model", DemoModel().string(), "--max-num-seqs", "3", "--max-model-len", "64",
                 "--num-kv-blocks", "6"});
  Api api(server.target());
  narrow = GenerateSeveral(api, request);
  REQUIRE(narrow.size() == 6);
  for (auto& [index, reply] : wide) CHECK(Bits(reply) == Bits(narrow[index]));
  CHECK(api.Status().engine().kv_blocks_free() == 6);
}

// Beam search by its definition, over answers of one token to every prefix.
struct Path {
  Ids ids;
  double sum = 0;
};
struct Naive {
  Api& api;
  uint32_t width;
  uint32_t max_tokens;
  double penalty;
  Ids stops;

  std::vector<std::pair<uint32_t, float>> Likeliest(const Ids& ids) {
    Ids prompt = kPrompt;
    prompt.insert(prompt.end(), ids.begin(), ids.end());
    v1::GenerateRequest request = Greedy(prompt, 1);
    request.mutable_output()->set_logprobs(2 * width);
    std::vector<std::pair<uint32_t, float>> top;
    const Reply reply = api.Generate(request);
    for (const auto& each : reply.logprobs.at(0).top()) {
      top.push_back({each.token_id(), each.logprob()});
    }
    return top;
  }
  double Score(const Path& path) const {
    return path.sum / std::pow(double(path.ids.size()), penalty);
  }

  std::vector<Path> Run() {
    std::vector<Path> beams(1), complete;
    for (uint32_t length = 1; length <= max_tokens; ++length) {
      std::vector<Path> grown;
      for (const Path& beam : beams) {
        for (const auto& [id, logprob] : Likeliest(beam.ids)) {
          Path path = beam;
          path.ids.push_back(id);
          path.sum += double{logprob};
          const bool stop = std::count(stops.begin(), stops.end(), id) > 0;
          (stop ? complete : grown).push_back(path);
        }
      }
      auto more = [](const Path& a, const Path& b) { return a.sum > b.sum; };
      std::stable_sort(grown.begin(), grown.end(), more);
      grown.resize(std::min<size_t>(grown.size(), width));
      beams = grown;
    }
    complete.insert(complete.end(), beams.begin(), beams.end());
    std::stable_sort(complete.begin(), complete.end(),
                     [&](const Path& a, const Path& b) { return Score(a) > Score(b); });
    complete.resize(width);
    return complete;
  }
};

TEST_CASE("beams over real workers are those of the definition over single requests") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  for (const auto& [width, penalty] : {std::pair<uint32_t, float>{3, 1.0f}, {4, 0.0f}}) {
    INFO("width " << width << ", penalty " << penalty);
    v1::GenerateRequest request = Greedy(kPrompt, 8);
    request.clear_sampling();
    request.mutable_sampling()->set_beam_width(width);
    request.mutable_sampling()->set_length_penalty(penalty);
    request.mutable_sampling()->set_n(width);
    request.mutable_stop()->add_token_ids(17);  // "."
    request.mutable_stop()->add_token_ids(15);  // ","
    request.mutable_stop()->set_ignore_eos(true);
    request.mutable_output()->set_logprobs(2);
    auto found = GenerateSeveral(api, request);
    const std::vector<Path> expected = Naive{api, width, 8, penalty, {17, 15}}.Run();
    REQUIRE(found.size() == width);
    for (uint32_t i = 0; i < width; ++i) {
      INFO("answer " << i);
      CHECK(found[i].ids == expected[i].ids);
      CHECK(SumOf(found[i]) == expected[i].sum);
      CHECK(found[i].logprobs[0].top_size() == 2);
    }
    auto again = GenerateSeveral(api, request);
    for (auto& [index, reply] : found) CHECK(Bits(reply) == Bits(again[index]));
  }
}

TEST_CASE("beams keep their answers where they and others fight for blocks") {
  v1::GenerateRequest request = Greedy(kPrompt, 40);
  request.clear_sampling();
  request.mutable_sampling()->set_beam_width(3);
  request.mutable_sampling()->set_n(3);
  request.mutable_stop()->set_ignore_eos(true);
  Replies calm;
  {
    Server server({"--model", DemoModel().string()});
    Api api(server.target());
    calm = GenerateSeveral(api, request);
  }
  Server server({"--model", DemoModel().string(), "--max-num-seqs", "4", "--max-model-len", "64",
                 "--num-kv-blocks", "9"});
  Replies fought[3];
  std::vector<std::thread> clients;
  for (auto& replies : fought) {
    clients.emplace_back([&] {
      Api api(server.target());
      grpc::Status status;
      replies = GenerateSeveral(api, request, &status);
    });
  }
  for (std::thread& client : clients) client.join();
  for (auto& replies : fought) {
    REQUIRE(replies.size() == 3);
    for (auto& [index, reply] : calm) CHECK(Bits(reply) == Bits(replies[index]));
  }
  Api api(server.target());
  CHECK(api.Status().engine().kv_blocks_free() == 9);
}

TEST_CASE("a client that leaves ends all sequences of its request, whatever they are at") {
  Server server({"--model", DemoModel().string(), "--max-num-seqs", "4"});
  Api api(server.target());
  for (const bool beams : {false, true}) {
    v1::GenerateRequest request = Greedy(kPrompt, 900);
    request.clear_sampling();
    if (beams) {
      request.mutable_sampling()->set_beam_width(4);
    } else {
      request.mutable_sampling()->set_n(8);  // more than have a seat
    }
    request.mutable_stop()->set_ignore_eos(true);
    grpc::ClientContext context;
    auto reader = api.inference().Generate(&context, request);
    v1::GenerateResponse response;
    REQUIRE(reader->Read(&response));  // Accepted
    REQUIRE(api.AwaitStatus([](const auto& status) { return status.engine().running() > 2; }));
    context.TryCancel();
    CHECK(reader->Finish().error_code() == grpc::StatusCode::CANCELLED);
    CHECK(api.AwaitStatus([](const auto& status) {
      return status.engine().running() == 0 && status.engine().waiting() == 0 &&
             status.engine().kv_blocks_free() == status.engine().kv_blocks_total();
    }));
  }
  v1::GenerateRequest late = Greedy(kPrompt, 900);
  late.mutable_sampling()->set_n(3);
  late.mutable_stop()->set_ignore_eos(true);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  auto reader = api.inference().Generate(&context, late);
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
  }
  CHECK(reader->Finish().error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  CHECK(api.AwaitStatus([](const auto& status) { return status.engine().running() == 0; }));
}

}  // namespace
}  // namespace tessera::tests
