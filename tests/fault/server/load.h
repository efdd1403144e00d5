// Streams that run while something goes wrong.
#ifndef TESSERA_TESTS_FAULT_SERVER_LOAD_H_
#define TESSERA_TESTS_FAULT_SERVER_LOAD_H_

#include <future>
#include <vector>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {

// `count` greedy streams of `max_tokens` each, every one with its first token there when the
// constructor returns.
class Load {
 public:
  Load(Api& api, int count, uint32_t max_tokens) {
    std::vector<std::future<void>> started;
    for (int i = 0; i < count; ++i) {
      auto first = std::make_shared<std::promise<void>>();  // shared with the thread below
      started.push_back(first->get_future());
      replies_.push_back(std::async(std::launch::async, [&api, i, max_tokens, first] {
        return Run(api, 10 + i, max_tokens, *first);
      }));
    }
    for (auto& future : started) future.get();
  }

  std::vector<Reply> Wait() {
    std::vector<Reply> replies;
    for (auto& reply : replies_) replies.push_back(reply.get());
    return replies;
  }

 private:
  static Reply Run(Api& api, uint32_t id, uint32_t max_tokens, std::promise<void>& first) {
    v1::GenerateRequest request = Greedy({0, id}, max_tokens);
    request.mutable_stop()->set_ignore_eos(true);
    grpc::ClientContext context;
    auto reader = api.inference().Generate(&context, request);
    Reply reply;
    v1::GenerateResponse response;
    while (reply.ids.empty() && reader->Read(&response)) Add(response, reply);
    first.set_value();
    while (reader->Read(&response)) Add(response, reply);
    reply.status = reader->Finish();
    return reply;
  }

  std::vector<std::future<Reply>> replies_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_FAULT_SERVER_LOAD_H_
