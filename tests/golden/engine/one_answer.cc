#include "tests/golden/engine/one_answer.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace tessera::tests {

Served Alone(const std::vector<server::Request>& requests, const std::string& model,
             const GroupOptions& group) {
  Serving serving;
  serving.group = group;
  serving.at_a_time = 1;
  serving.prefix_cache = false;
  return Serve(model, requests, serving);
}

void CheckSame(const Served& expected, const Served& found) {
  REQUIRE(expected.answers.size() == found.answers.size());
  for (size_t i = 0; i < expected.answers.size(); ++i) {
    INFO("request " << i);
    CHECK(expected.answers[i].find("|") != std::string::npos);
    CHECK(found.answers[i] == expected.answers[i]);
  }
}

std::vector<server::Request> GrowingRequests(size_t count) {
  auto requests = MixedRequests(count);
  for (server::Request& request : requests) {
    request.prompt.resize(std::min<size_t>(request.prompt.size(), 20));
    request.max_tokens = 70;
  }
  return requests;
}

}  // namespace tessera::tests
