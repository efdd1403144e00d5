// Whole models on the device's kernels, run on this host thread by thread.
#include <catch2/catch.hpp>

#include "tests/golden/cuda/answers.h"
#include "worker/backend/cuda/cuda_backend.h"

namespace tessera::tests {
namespace {

using worker::cuda::Order;

BackendMaker Emulated(Order order) {
  return [order] { return worker::cuda::MakeCudaBackend({0, order}); };
}

TEST_CASE("emulated: answers in the exact order are the CPU's, bit for bit") {
  AnswersAreTheCpus(Emulated(Order::kFma16), "llama3_gqa", {1, 1});
  AnswersAreTheCpus(Emulated(Order::kFma16), "qwen2", {3, 2});
}

TEST_CASE("emulated: answers in bf16 have the same bits at every degree, chunk and batch") {
  AnswersStandAlone(Emulated(Order::kWide), "llama3_gqa", {{2, 2}});
}

}  // namespace
}  // namespace tessera::tests
