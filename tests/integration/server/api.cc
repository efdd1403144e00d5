#include "tests/integration/server/api.h"

#include <bit>

namespace tessera::tests {
namespace {

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target) {
  grpc::ChannelArguments arguments;
  // A connection of its own for each, so that one reader does not stand in another's way.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

Api::Api(const std::string& target)
    : channel_(MakeChannel(target)),
      inference_(v1::Inference::NewStub(channel_)),
      admin_(v1::Admin::NewStub(channel_)),
      health_(grpc::health::v1::Health::NewStub(channel_)) {}

Reply Api::Generate(const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  auto reader = inference_->Generate(&context, request);
  return ReadAll(*reader);
}

Reply Api::Chat(const v1::ChatRequest& request) {
  grpc::ClientContext context;
  auto reader = inference_->Chat(&context, request);
  return ReadAll(*reader);
}

v1::ServerStatus Api::Status() {
  grpc::ClientContext context;
  v1::ServerStatus status;
  admin_->GetStatus(&context, {}, &status);
  return status;
}

void Add(const v1::GenerateResponse& response, Reply& reply) {
  if (response.has_accepted()) reply.accepted = response.accepted();
  if (response.has_finished()) reply.finished = response.finished();
  const v1::Delta& delta = response.delta();
  reply.text += delta.text();
  reply.ids.insert(reply.ids.end(), delta.token_ids().begin(), delta.token_ids().end());
  reply.logprobs.insert(reply.logprobs.end(), delta.logprobs().begin(), delta.logprobs().end());
}

void Add(const v1::GenerateResponse& response, Replies& replies) {
  uint32_t index = response.has_finished() ? response.finished().index() : response.delta().index();
  Add(response, replies[index]);
}

Reply ReadAll(grpc::ClientReader<v1::GenerateResponse>& reader) {
  Reply reply;
  v1::GenerateResponse response;
  while (reader.Read(&response)) Add(response, reply);
  reply.status = reader.Finish();
  return reply;
}

std::vector<uint32_t> Bits(const Reply& reply) {
  std::vector<uint32_t> bits = reply.ids;
  for (const auto& token : reply.logprobs) {
    bits.push_back(token.token_id());
    bits.push_back(std::bit_cast<uint32_t>(token.logprob()));
    for (const auto& top : token.top()) {
      bits.push_back(top.token_id());
      bits.push_back(std::bit_cast<uint32_t>(top.logprob()));
    }
  }
  return bits;
}

v1::GenerateRequest Greedy(const std::vector<uint32_t>& prompt, uint32_t max_tokens) {
  v1::GenerateRequest request;
  request.mutable_token_ids()->mutable_ids()->Assign(prompt.begin(), prompt.end());
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stop()->set_max_tokens(max_tokens);
  request.mutable_output()->set_token_ids(true);
  return request;
}

}  // namespace tessera::tests
