#include "tests/golden/engine/walk.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <random>
#include <string>

#include "tests/golden/engine/answers.h"

namespace tessera::tests {
namespace {

Serving RandomServing(std::mt19937_64& random) {
  auto pick = [&random](auto... choices) {
    const int values[] = {static_cast<int>(choices)...};
    return values[random() % (sizeof...(choices))];
  };
  Serving serving;
  serving.group.tp = pick(1, 1, 2, 3);
  serving.group.pp = pick(1, 1, 2, 4);
  serving.replicas = pick(1, 1, 2);
  serving.group.threads = pick(1, 1, 2);
  serving.group.max_num_seqs = pick(1, 4, 7, 16);
  serving.group.max_num_batched_tokens = pick(16, 23, 64, 256);
  serving.group.num_kv_blocks = pick(13, 16, 24, 256);
  if (serving.group.num_kv_blocks < 32) {
    serving.group.max_model_len = serving.group.num_kv_blocks * 16;
  }
  serving.group.speculation.num_tokens = pick(0, 0, 3);
  // A chunk of a prompt brings no token: who is in three losses without one counts as poisonous.
  serving.steps_to_loss = serving.group.max_num_batched_tokens < 64 ? 0 : pick(0, 0, 9, 20);
  serving.prefix_cache = pick(0, 1, 1) != 0;
  serving.group.num_kv_slots = serving.prefix_cache ? pick(0, 3, 40) : 0;
  if (pick(0, 1) == 1) serving.group.kv_offload_dir = std::filesystem::temp_directory_path();
  serving.at_a_time = pick(1, 3, 7, 1000);
  serving.order_seed = random() % 3 == 0 ? 0 : random();
  return serving;
}

// Each request alone; made once for every model.
const Served& Alone(const std::string& model, const std::vector<server::Request>& requests) {
  static std::map<std::string, Served> known;
  auto [entry, added] = known.try_emplace(model);
  if (added) {
    Serving serving;
    serving.at_a_time = 1;
    serving.prefix_cache = false;
    entry->second = Serve(model, requests, serving);
  }
  return entry->second;
}

}  // namespace

void Walk(uint64_t seed, int steps) {
  std::mt19937_64 random(seed);
  const auto requests = Twice(MixedRequests(12));
  for (int step = 0; step < steps; ++step) {
    const std::string model =
        std::vector<std::string>{"llama3_gqa", "mistral", "qwen3"}[random() % 3];
    const Serving serving = RandomServing(random);
    INFO("seed " << seed << ", step " << step << ": " << model << " " << serving.ToString());
    const Served& alone = Alone(model, requests);
    const Served served = Serve(model, requests, serving);
    for (size_t i = 0; i < requests.size(); ++i) {
      INFO("request " << i);
      REQUIRE(served.answers[i] == alone.answers[i]);
    }
  }
}

}  // namespace tessera::tests
