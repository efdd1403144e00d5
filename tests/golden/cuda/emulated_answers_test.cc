// Whole models on the device's kernels, run on this host thread by thread.
#include <cuda_runtime.h>

#include <catch2/catch.hpp>

#include "tests/golden/cuda/answers.h"
#include "worker/backend/cuda/cuda_backend.h"

namespace tessera::tests {
namespace {

using worker::cuda::Order;

BackendMaker Emulated(Order order) {
  return [order] { return worker::cuda::MakeCudaBackend({0, order}); };
}

shard_loader::WeightFormat Format(const char* name) {
  return *shard_loader::ParseWeightFormat(name);
}

TEST_CASE("emulated: answers in the exact order are the CPU's, bit for bit") {
  AnswersAreTheCpus(Emulated(Order::kFma16), "llama3_gqa", {1, 1});
  AnswersAreTheCpus(Emulated(Order::kFma16), "qwen2", {3, 2});
}

TEST_CASE("emulated: fewer lanes, for fewer ranks, give the CPU's answers with as many") {
  AnswersAreTheCpus(Emulated(Order::kFma16), "qwen2", {1, 1, 2});
  AnswersAreTheCpus(Emulated(Order::kFma16), "qwen2", {2, 1, 2});
}

TEST_CASE("emulated: experts and latent attention give the CPU's answers, bit for bit") {
  AnswersAreTheCpus(Emulated(Order::kFma16), "deepseek_v3", {2, 1});
  AnswersAreTheCpus(Emulated(Order::kFma16), "gpt_oss", {1, 1});
  AnswersAreTheCpus(Emulated(Order::kFma16), "mixtral", {3, 1});
}

TEST_CASE("emulated: parallel blocks give the CPU's answers, bit for bit") {
  AnswersAreTheCpus(Emulated(Order::kFma16), "cohere", {1, 1});
  AnswersAreTheCpus(Emulated(Order::kFma16), "cohere", {3, 1});
}

TEST_CASE("emulated: steps behind tokens that are not known yet give the same answers") {
  AnswersMayLag(Emulated(Order::kFma16), "llama3_gqa");
  AnswersMayLag(Emulated(Order::kFma16), "mixtral");
}

TEST_CASE("emulated: weights of 8 and 4 bits give the CPU's answers, bit for bit") {
  AnswersAreTheCpus(Emulated(Order::kFma16), "llama3_gqa", {2, 1}, Format("int8"));
  AnswersAreTheCpus(Emulated(Order::kFma16), "mixtral", {1, 1}, Format("int4"));
}

TEST_CASE("emulated: a cache of 8 bits gives the CPU's answers, bit for bit") {
  AnswersAreTheCpus(Emulated(Order::kFma16), "llama3_gqa", {2, 1}, {},
                    shard_loader::KvFormat::Int8());
}

TEST_CASE("emulated: guessed tokens change no answer, and save steps") {
  GuessesChangeNothing(Emulated(Order::kFma16), "llama3_gqa");
}

TEST_CASE("emulated: after a rank's start no step takes memory of the device") {
  const auto allocations = [] { return emulated_allocations.load(); };
  StepsAllocateNothing(Emulated(Order::kWide), "llama3_gqa", allocations);
  StepsAllocateNothing(Emulated(Order::kWide), "mixtral", allocations);
}

TEST_CASE("emulated: answers in bf16 have the same bits at every degree, chunk and batch") {
  AnswersStandAlone(Emulated(Order::kWide), "llama3_gqa", {{2, 2}});
}

}  // namespace
}  // namespace tessera::tests
