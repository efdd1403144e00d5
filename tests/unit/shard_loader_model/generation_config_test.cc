#include "shard_loader/model/generation_config.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

TEST_CASE("the fields that set sampling defaults are read, all others are not") {
  const auto read = ParseGenerationConfig(R"({"do_sample": true, "temperature": 0.7, "top_k": 20,
    "top_p": 0.8, "min_p": 0.05, "repetition_penalty": 1.1, "max_new_tokens": 64,
    "eos_token_id": [507, 505], "num_beams": 4, "transformers_version": "4.43.1"})");
  REQUIRE(read.ok());
  CHECK(read->temperature == 0.7);
  CHECK(read->top_k == 20);
  CHECK(read->top_p == 0.8);
  CHECK(read->min_p == 0.05);
  CHECK(read->repetition_penalty == 1.1);
  CHECK(read->max_new_tokens == 64);
  CHECK(read->eos_token_ids == std::vector<int64_t>{507, 505});
}

TEST_CASE("absent and null fields leave the server's defaults, and so does do_sample alone") {
  const auto read = ParseGenerationConfig(R"({"do_sample": false, "temperature": null})");
  REQUIRE(read.ok());
  CHECK_FALSE(read->temperature);
  CHECK_FALSE(read->top_k);
  CHECK(read->eos_token_ids.empty());
}

TEST_CASE("one end id is taken as a list of one") {
  CHECK(ParseGenerationConfig(R"({"eos_token_id": 2})")->eos_token_ids == std::vector<int64_t>{2});
}

TEST_CASE("defaults that no request could have are refused by name") {
  for (const char* text :
       {R"({"temperature": -1})", R"({"top_p": 0})", R"({"top_p": 1.5})", R"({"min_p": 2})",
        R"({"repetition_penalty": 0})", R"({"top_k": 1.5})", R"({"temperature": "hot"})",
        R"({"max_new_tokens": 0})", R"({"eos_token_id": "</s>"})"}) {
    const auto read = ParseGenerationConfig(text);
    INFO(text);
    CHECK(read.status().code() == absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(std::string(read.status().message()), Catch::Contains("generation_config.json: "));
  }
  CHECK(ParseGenerationConfig("[]").status().code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace tessera::shard_loader
