// What a set of requests is answered alone, and whether it is answered the same otherwise.
#ifndef TESSERA_TESTS_GOLDEN_ENGINE_ONE_ANSWER_H_
#define TESSERA_TESTS_GOLDEN_ENGINE_ONE_ANSWER_H_

#include <string>
#include <vector>

#include "tests/golden/engine/answers.h"

namespace tessera::tests {

inline constexpr char kModel[] = "llama3_gqa";

// Each request alone, in whole prompts, without the prefix cache.
Served Alone(const std::vector<server::Request>& requests, const std::string& model = kModel,
             const GroupOptions& group = {});

void CheckSame(const Served& expected, const Served& found);

// Short prompts with answers that outgrow a small cache together.
std::vector<server::Request> GrowingRequests(size_t count);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_GOLDEN_ENGINE_ONE_ANSWER_H_
