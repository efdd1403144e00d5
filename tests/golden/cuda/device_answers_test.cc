// Whole models on a device; several ranks are threads that share it.
#include <catch2/catch.hpp>

#include "tests/golden/cuda/answers.h"
#include "tests/support/fixtures.h"
#include "worker/backend/cuda_library.h"

namespace tessera::tests {
namespace {

BackendMaker Device(const char* kernel_set) {
  const auto facts = worker::FindCuda("");
  if (!facts.ok()) SkipTest(std::string(facts.status().message()));
  return [kernel_set, index = facts->devices.front().index] {
    return worker::MakeCudaBackend("", kernel_set, index);
  };
}

TEST_CASE("device: answers in the exact order are the CPU's, bit for bit") {
  const BackendMaker exact = Device("cuda-exact");
  for (const char* model : {"llama3_gqa", "llama_small", "mistral", "qwen2", "qwen3"}) {
    AnswersAreTheCpus(exact, model, {1, 1});
    AnswersAreTheCpus(exact, model, {2, 2});
    AnswersAreTheCpus(exact, model, {4, 1});
  }
}

TEST_CASE("device: fewer lanes, for fewer ranks, give the CPU's answers with as many") {
  for (int lanes : {1, 2, 4}) {
    AnswersAreTheCpus(Device("cuda-exact"), "qwen2", {1, 1, lanes});
    AnswersAreTheCpus(Device("cuda-exact"), "qwen2", {lanes, 1, lanes});
  }
}

TEST_CASE("device: experts and latent attention give the CPU's answers, bit for bit") {
  const BackendMaker exact = Device("cuda-exact");
  for (const char* model : {"deepseek_v3", "gpt_oss", "mixtral"}) {
    AnswersAreTheCpus(exact, model, {1, 1});
    AnswersAreTheCpus(exact, model, {2, 1});
  }
}

TEST_CASE("device: steps behind tokens that are not known yet give the same answers") {
  for (const char* model : {"llama3_gqa", "qwen3", "mixtral"}) AnswersMayLag(Device("cuda"), model);
}

TEST_CASE("device: weights of 8 and 4 bits give the CPU's answers, bit for bit") {
  const BackendMaker exact = Device("cuda-exact");
  for (const char* format : {"int8", "int4"}) {
    for (const char* model : {"llama3_gqa", "mixtral"}) {
      AnswersAreTheCpus(exact, model, {1, 1}, *shard_loader::ParseWeightFormat(format));
      AnswersAreTheCpus(exact, model, {2, 1}, *shard_loader::ParseWeightFormat(format));
    }
  }
}

TEST_CASE("device: a cache of 8 bits gives the CPU's answers, bit for bit") {
  for (const char* model : {"deepseek_v3", "llama3_gqa", "qwen3"}) {
    AnswersAreTheCpus(Device("cuda-exact"), model, {1, 1}, {}, shard_loader::KvFormat::Int8());
    AnswersAreTheCpus(Device("cuda-exact"), model, {2, 1}, {}, shard_loader::KvFormat::Int8());
  }
}

TEST_CASE("device: guessed tokens change no answer, and save steps") {
  for (const char* model : {"llama3_gqa", "mixtral", "qwen3"}) {
    GuessesChangeNothing(Device("cuda-exact"), model);
  }
}

TEST_CASE("device: answers in bf16 have the same bits at every degree, chunk and batch") {
  const BackendMaker wide = Device("cuda");
  for (const char* model : {"llama3_gqa", "llama_small", "mistral", "mixtral", "qwen2", "qwen3"}) {
    AnswersStandAlone(wide, model, {{2, 1}, {4, 1}, {1, 2}, {2, 2}});
  }
}

TEST_CASE("device: greedy answers in f32 are the reference implementation's") {
  const BackendMaker wide = Device("cuda");
  for (const char* model : {"llama3_gqa", "llama_small", "mistral", "qwen2", "qwen3"}) {
    AnswersAreGolden(wide, model);
  }
}

}  // namespace
}  // namespace tessera::tests
