// Several answers to one prompt over real workers: n, best_of and beams.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
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

constexpr uint32_t kVocabulary = 2048;

// Beam search by its definition, over answers of one token to every prefix: the raw logprobs of the
// whole vocabulary, to which everything else is done here.
struct Path {
  Ids ids;
  double raw = 0;
  double sum = 0;  // with biases
};
struct Naive {
  Api& api;
  uint32_t width;
  uint32_t max_tokens;
  double penalty;
  Ids stops;
  std::map<uint32_t, float> bias = {};
  std::set<uint32_t> allowed = {};
  std::vector<Ids> bad_words = {};

  struct Next {
    uint32_t id;
    float logprob;
    double score;
  };

  bool MayFollow(const Ids& ids, uint32_t id) const {
    if (!allowed.empty() && allowed.count(id) == 0) return false;
    return std::none_of(bad_words.begin(), bad_words.end(), [&](const Ids& word) {
      Ids end = ids;
      end.push_back(id);
      return end.size() >= word.size() && std::equal(word.rbegin(), word.rend(), end.rbegin());
    });
  }

  std::vector<Next> Likeliest(const Ids& ids) {
    Ids prompt = kPrompt;
    prompt.insert(prompt.end(), ids.begin(), ids.end());
    v1::GenerateRequest request = Greedy(prompt, 1);
    request.mutable_output()->set_logprobs(kVocabulary);
    std::vector<Next> next;
    const Reply reply = api.Generate(request);
    REQUIRE(reply.logprobs.at(0).top_size() == int{kVocabulary});
    for (const auto& each : reply.logprobs.at(0).top()) {
      if (!MayFollow(ids, each.token_id())) continue;
      const auto at = bias.find(each.token_id());
      const double favour = at == bias.end() ? 0 : double{at->second};
      next.push_back({each.token_id(), each.logprob(), double{each.logprob()} + favour});
    }
    std::stable_sort(next.begin(), next.end(),
                     [](const Next& a, const Next& b) { return a.score > b.score; });
    next.resize(std::min<size_t>(next.size(), 2 * width));
    return next;
  }
  double Score(const Path& path) const {
    return path.sum / std::pow(double(path.ids.size()), penalty);
  }

  std::vector<Path> Run() {
    std::vector<Path> beams(1), complete;
    for (uint32_t length = 1; length <= max_tokens; ++length) {
      std::vector<Path> grown;
      for (const Path& beam : beams) {
        for (const Next& next : Likeliest(beam.ids)) {
          Path path = beam;
          path.ids.push_back(next.id);
          path.raw += double{next.logprob};
          path.sum += next.score;
          const bool stop = std::count(stops.begin(), stops.end(), next.id) > 0;
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
    complete.resize(std::min<size_t>(width, complete.size()));
    return complete;
  }
};

v1::GenerateRequest SearchFor(uint32_t width, float penalty, const Ids& stops) {
  v1::GenerateRequest request = Greedy(kPrompt, 8);
  request.clear_sampling();
  request.mutable_sampling()->set_beam_width(width);
  request.mutable_sampling()->set_length_penalty(penalty);
  request.mutable_sampling()->set_n(width);
  request.mutable_stop()->mutable_token_ids()->Add(stops.begin(), stops.end());
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_output()->set_logprobs(2);
  return request;
}

void CheckFound(const Replies& found, const std::vector<Path>& expected) {
  REQUIRE(found.size() == expected.size());
  for (uint32_t i = 0; i < expected.size(); ++i) {
    INFO("answer " << i);
    CHECK(found.at(i).ids == expected[i].ids);
    CHECK(SumOf(found.at(i)) == expected[i].raw);
    CHECK(found.at(i).logprobs[0].top_size() == 2);
  }
}

Ids TokensOf(Api& api, const std::string& text) {
  grpc::ClientContext context;
  v1::TokenizeRequest request;
  request.set_text(text);
  request.set_add_special_tokens(false);
  v1::TokenizeResponse response;
  REQUIRE(api.inference().Tokenize(&context, request, &response).ok());
  Ids ids;
  for (const auto& piece : response.pieces()) ids.push_back(piece.id());
  return ids;
}

TEST_CASE("beams keep to what a request forbids and favours, as the definition does") {
  Server server({"--model", DemoModel().string(), "--tp", "2", "--max-logprobs", "2048"});
  Api api(server.target());
  v1::GenerateRequest request = SearchFor(3, 1.5f, {17});
  const Replies free = GenerateSeveral(api, request);
  Naive naive{api, 3, 8, 1.5, {17}};
  REQUIRE(free.at(0).ids.size() > 2);

  // Against its own best answer: its second token is disfavoured, a stop id favoured, a third of
  // the vocabulary forbidden, and then a word of what is left.
  v1::SamplingParams& sampling = *request.mutable_sampling();
  naive.bias = {{free.at(0).ids.at(1), -4.5f}, {17, 1.25f}, {581, 2.0f}};
  for (const auto& [id, bias] : naive.bias) (*sampling.mutable_logit_bias())[id] = bias;
  CheckFound(GenerateSeveral(api, request), naive.Run());
  for (uint32_t id = 0; id < kVocabulary; ++id) {
    if (id % 3 == free.at(0).ids.at(2) % 3) continue;
    naive.allowed.insert(id);
    sampling.add_allowed_token_ids(id);
  }
  const Replies found = GenerateSeveral(api, request);
  CheckFound(found, naive.Run());
  const std::string& best = found.at(0).text;
  for (const std::string& word :
       {std::string("princess"), best.substr(0, best.find_first_of(" ,.", 1))}) {
    sampling.add_bad_words(word);
    const size_t letter = std::min(word.find_first_not_of(' '), word.size());
    for (const char* space : {"", " "}) {
      naive.bad_words.push_back(TokensOf(api, space + word.substr(letter)));
    }
  }
  const Replies kept = GenerateSeveral(api, request);
  CheckFound(kept, naive.Run());
  CHECK(kept.at(0).ids != found.at(0).ids);
  CHECK(found.at(0).ids != free.at(0).ids);
}

TEST_CASE("beams that their request leaves too little end with a word about it") {
  Server server({"--model", DemoModel().string()});
  Api api(server.target());
  v1::GenerateRequest request = SearchFor(2, 1, {});
  request.mutable_sampling()->add_allowed_token_ids(581);
  grpc::Status status;
  GenerateSeveral(api, request, &status);  // one path, where two are asked for
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(status.error_message().find("allowed_token_ids") != std::string::npos);
  request.mutable_sampling()->set_n(1);  // whose answer also shows that the server goes on
  const Replies one = GenerateSeveral(api, request);
  CHECK(one.at(0).ids == Ids(8, 581));
}

TEST_CASE("beams over real workers are those of the definition over single requests") {
  Server server({"--model", DemoModel().string(), "--tp", "2", "--max-logprobs", "2048"});
  Api api(server.target());
  for (const auto& [width, penalty] : {std::pair<uint32_t, float>{3, 1.0f}, {4, 0.0f}}) {
    INFO("width " << width << ", penalty " << penalty);
    const Ids stops = {17, 15};  // "." and ","
    const v1::GenerateRequest request = SearchFor(width, penalty, stops);
    auto found = GenerateSeveral(api, request);
    CheckFound(found, Naive{api, width, 8, penalty, stops}.Run());
    REQUIRE(found.size() == width);
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
