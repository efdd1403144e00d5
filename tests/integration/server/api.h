// Calls of the public API as tests make them: stubs, and whole answers as values.
#ifndef TESSERA_TESTS_INTEGRATION_SERVER_API_H_
#define TESSERA_TESTS_INTEGRATION_SERVER_API_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "grpc/health/v1/health.grpc.pb.h"
#include "tessera/v1/admin.grpc.pb.h"
#include "tessera/v1/inference.grpc.pb.h"

namespace tessera::tests {

// A whole answer.
struct Reply {
  std::optional<v1::Accepted> accepted;
  std::string text;
  std::vector<uint32_t> ids;
  std::vector<v1::TokenLogprobs> logprobs;
  std::optional<v1::Finished> finished;
  grpc::Status status;
};

// Ids and the bits of every logprob, to compare answers exactly.
std::vector<uint32_t> Bits(const Reply& reply);

// Thread-safe.
class Api {
 public:
  explicit Api(const std::string& target);

  v1::Inference::Stub& inference() { return *inference_; }
  v1::Admin::Stub& admin() { return *admin_; }
  grpc::health::v1::Health::Stub& health() { return *health_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  Reply Generate(const v1::GenerateRequest& request);
  Reply Chat(const v1::ChatRequest& request);
  v1::ServerStatus Status();
  // Asks again and again, with no more than a short pause, until `done` or the hang limit.
  template <typename Done>
  bool AwaitStatus(Done done) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    grpc::ClientContext context;
    v1::WatchStatusRequest request;
    request.set_interval_ms(100);
    auto reader = admin_->WatchStatus(&context, request);
    v1::ServerStatus status;
    bool is_done = false;
    while (!is_done && std::chrono::steady_clock::now() < deadline && reader->Read(&status)) {
      is_done = done(status);
    }
    context.TryCancel();
    reader->Finish();
    return is_done;
  }

 private:
  const std::shared_ptr<grpc::Channel> channel_;  // shared with gRPC's stubs
  const std::unique_ptr<v1::Inference::Stub> inference_;
  const std::unique_ptr<v1::Admin::Stub> admin_;
  const std::unique_ptr<grpc::health::v1::Health::Stub> health_;
};

// Reads a stream to its end.
Reply ReadAll(grpc::ClientReader<v1::GenerateResponse>& reader);
void Add(const v1::GenerateResponse& response, Reply& reply);

// Answers of one request by their index: n, best_of and beams give several.
using Replies = std::map<uint32_t, Reply>;
void Add(const v1::GenerateResponse& response, Replies& replies);

// A greedy request that returns ids.
v1::GenerateRequest Greedy(const std::vector<uint32_t>& prompt, uint32_t max_tokens);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_INTEGRATION_SERVER_API_H_
