#include "shard_loader/model/rope.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

struct Outcome {
  DecoderSpec spec;
  absl::Status status;
};

Outcome Read(const json& fields) {
  ConfigReader config(fields, "config.json");
  Outcome outcome;
  outcome.spec.context_length = 512;
  outcome.spec.attention.head_size = 16;
  ReadRope(config, {}, outcome.spec);
  outcome.status = config.status();
  return outcome;
}

TEST_CASE("linear scaling is read under its old and its new key, and widens the context") {
  for (const char* key : {"type", "rope_type"}) {
    const Outcome read =
        Read({{"rope_theta", 5e5}, {"rope_scaling", {{key, "linear"}, {"factor", 2}}}});
    REQUIRE(read.status.ok());
    CHECK(read.spec.rope.scaling == RopeSpec::Scaling::kLinear);
    CHECK(read.spec.rope.factor == 2.0);
    CHECK(read.spec.rope.theta == 5e5);
    CHECK(read.spec.context_length == 1024);
  }
}

TEST_CASE("llama3 scaling needs its four numbers") {
  json scaling = {{"rope_type", "llama3"},
                  {"factor", 8.0},
                  {"low_freq_factor", 1.0},
                  {"high_freq_factor", 4.0},
                  {"original_max_position_embeddings", 64}};
  const Outcome read = Read({{"rope_scaling", scaling}});
  REQUIRE(read.status.ok());
  CHECK(read.spec.rope.scaling == RopeSpec::Scaling::kLlama3);
  CHECK(read.spec.rope.factor == 8.0);
  CHECK(read.spec.rope.low_freq_factor == 1.0);
  CHECK(read.spec.rope.high_freq_factor == 4.0);
  CHECK(read.spec.rope.original_context == 64);
  CHECK(read.spec.context_length == 512);
  for (const char* key :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    json without = scaling;
    without.erase(key);
    CHECK_THAT(std::string(Read({{"rope_scaling", without}}).status.message()),
               Contains(std::string("rope_scaling.") + key + " is missing"));
  }
  scaling["low_freq_factor"] = 4.0;
  CHECK_THAT(std::string(Read({{"rope_scaling", scaling}}).status.message()),
             Contains("expected less than high_freq_factor"));
}

TEST_CASE("rope_parameters of newer files hold theta and scaling together") {
  const Outcome read =
      Read({{"rope_parameters", {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 1e6}}}});
  REQUIRE(read.status.ok());
  CHECK(read.spec.rope.theta == 1e6);
  CHECK(read.spec.rope.factor == 4.0);
  const Outcome plain =
      Read({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 2e4}}}});
  CHECK(plain.status.ok());
  CHECK(plain.spec.rope.scaling == RopeSpec::Scaling::kNone);
  CHECK(plain.spec.rope.theta == 2e4);
}

TEST_CASE("null and absent scaling mean none") {
  CHECK(Read({{"rope_scaling", nullptr}}).spec.rope.scaling == RopeSpec::Scaling::kNone);
  CHECK(Read(json::object()).spec.rope.theta == 10000.0);
}

TEST_CASE("yarn makes room for more positions, and keeps its numbers") {
  const Outcome read = Read({{"rope_scaling",
                              {{"type", "yarn"},
                               {"factor", 40},
                               {"beta_fast", 16},
                               {"mscale", 1.0},
                               {"mscale_all_dim", 0.5},
                               {"original_max_position_embeddings", 64},
                               {"truncate", false}}}});
  REQUIRE(read.status.ok());
  CHECK(read.spec.rope.scaling == RopeSpec::Scaling::kYarn);
  CHECK(read.spec.rope.beta_fast == 16.0);
  CHECK(read.spec.rope.mscale_all_dim == 0.5);
  CHECK_FALSE(read.spec.rope.truncate);
  CHECK(read.spec.context_length == 2560);
}

TEST_CASE("longrope needs a divisor for each frequency") {
  const std::vector<double> right(8, 1.5), wrong(7, 1.5);
  json fields = {
      {"original_max_position_embeddings", 128},
      {"rope_scaling", {{"type", "su"}, {"short_factor", right}, {"long_factor", right}}}};
  const Outcome read = Read(fields);
  REQUIRE(read.status.ok());
  CHECK(read.spec.rope.scaling == RopeSpec::Scaling::kLongrope);
  CHECK(read.spec.rope.factor == 4.0);
  CHECK(read.spec.rope.original_context == 128);
  CHECK(read.spec.rope.DependsOnContext());
  fields["rope_scaling"]["long_factor"] = wrong;
  CHECK_THAT(std::string(Read(fields).status.message()),
             Contains("long_factor has 7 entries, expected 8"));
}

TEST_CASE("a part of each head is rotated, under the old key and the new ones") {
  CHECK(Read({{"rotary_pct", 0.25}}).spec.attention.rotary_size == 4);
  CHECK(Read({{"partial_rotary_factor", 0.5}}).spec.attention.rotary_size == 8);
  CHECK(Read({{"rope_parameters", {{"partial_rotary_factor", 0.5}, {"rope_theta", 1e4}}}})
            .spec.attention.rotary_size == 8);
  CHECK(Read({{"rotary_emb_base", 500}}).spec.rope.theta == 500.0);
  CHECK_THAT(std::string(Read({{"rotary_pct", 0.19}}).status.message()),
             Contains("leaves 3 of 16"));
}

TEST_CASE("layers with a window may have a rope of their own") {
  const Outcome read =
      Read({{"rope_parameters",
             {{"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 1e6}}},
              {"sliding_attention", {{"rope_theta", 1e4}}}}}});
  REQUIRE(read.status.ok());
  CHECK(read.spec.rope.theta == 1e6);
  CHECK(read.spec.rope.factor == 8.0);
  CHECK(read.spec.local_rope.theta == 1e4);
  CHECK(read.spec.local_rope.scaling == RopeSpec::Scaling::kNone);
}

TEST_CASE("scalings that are not supported are refused by name") {
  for (const char* type : {"mrope", "mystery"}) {
    const absl::Status status =
        Read({{"rope_scaling", {{"rope_type", type}, {"factor", 2}}}}).status;
    CHECK(status.code() == absl::StatusCode::kUnimplemented);
    CHECK_THAT(std::string(status.message()), Contains(type));
  }
}

TEST_CASE("numbers of a scaling are held to their bounds") {
  for (const json& factor : {json(0), json(-2), json("2"), json(1e300)}) {
    const absl::Status status =
        Read({{"rope_scaling", {{"type", "linear"}, {"factor", factor}}}}).status;
    CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(std::string(status.message()), Contains("rope_scaling.factor"));
  }
  CHECK_FALSE(Read({{"rope_scaling", "linear"}}).status.ok());
  CHECK_FALSE(Read({{"rope_theta", 0}}).status.ok());
}

}  // namespace
}  // namespace tessera::shard_loader
