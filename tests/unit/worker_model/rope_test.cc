#include "worker/model/rope.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

namespace tessera::worker {
namespace {

using shard_loader::RopeSpec;

TEST_CASE("frequencies fall from 1 by powers of theta") {
  RopeSpec spec;
  spec.theta = 10000;
  const Rope rope(spec, 8);
  REQUIRE(rope.frequencies().size() == 4);
  CHECK(rope.frequencies()[0] == 1.0f);
  CHECK(rope.frequencies()[1] == 0.1f);
  CHECK(rope.frequencies()[2] == 0.01f);
  CHECK(rope.frequencies()[3] == 0.001f);
}

TEST_CASE("linear scaling divides every frequency") {
  RopeSpec spec;
  spec.scaling = RopeSpec::Scaling::kLinear;
  spec.factor = 4;
  CHECK(Rope(spec, 4).frequencies() == std::vector<float>{0.25f, 0.0025f});
}

TEST_CASE("llama3 scaling keeps high frequencies, divides low ones, and ramps between") {
  RopeSpec spec;
  spec.theta = 500000;
  spec.scaling = RopeSpec::Scaling::kLlama3;
  spec.factor = 8;
  spec.low_freq_factor = 1;
  spec.high_freq_factor = 4;
  spec.original_context = 8192;
  const Rope scaled(spec, 128);
  spec.scaling = RopeSpec::Scaling::kNone;
  const Rope plain(spec, 128);
  for (size_t i = 0; i < 64; ++i) {
    const double wavelength = 2 * M_PI / plain.frequencies()[i];
    const double ratio = double{plain.frequencies()[i]} / scaled.frequencies()[i];
    INFO("wavelength " << wavelength);
    if (wavelength < 8192.0 / 4) {
      CHECK(ratio == 1.0);
    } else if (wavelength > 8192) {
      CHECK(ratio == Approx(8.0));
    } else {
      CHECK(ratio > 1.0);
      CHECK(ratio < 8.0);
    }
  }
}

TEST_CASE("angles are those of position times frequency") {
  const Rope rope(RopeSpec{}, 16);
  const int32_t positions[] = {0, 1, 77777};
  std::vector<float> cosines(3 * 8), sines(3 * 8);
  rope.FillAngles(positions, 3, cosines.data(), sines.data());
  for (int row = 0; row < 3; ++row) {
    for (int i = 0; i < 8; ++i) {
      const float angle = static_cast<float>(positions[row]) * rope.frequencies()[i];
      CHECK(cosines[row * 8 + i] == Approx(std::cos(double{angle})).epsilon(0).margin(1e-7));
      CHECK(sines[row * 8 + i] == Approx(std::sin(double{angle})).epsilon(0).margin(1e-7));
    }
  }
}

TEST_CASE("yarn keeps fast elements, divides slow ones, and lengthens cosines") {
  RopeSpec spec;
  spec.scaling = RopeSpec::Scaling::kYarn;
  spec.factor = 16;
  spec.original_context = 4096;
  const Rope scaled(spec, 128), plain(RopeSpec{}, 128);
  CHECK(scaled.frequencies()[0] == plain.frequencies()[0]);
  CHECK(scaled.frequencies()[63] == Approx(plain.frequencies()[63] / 16));
  CHECK(scaled.attention_factor() == Approx(0.1 * std::log(16.0) + 1));
  CHECK(scaled.score_factor() == 1.0f);
  spec.mscale = 1;
  spec.mscale_all_dim = 1;
  spec.scales_scores = true;
  const Rope balanced(spec, 128);
  CHECK(balanced.attention_factor() == 1.0f);
  CHECK(balanced.score_factor() == Approx(std::pow(0.1 * std::log(16.0) + 1, 2)));
}

TEST_CASE("longrope and dynamic scaling are fixed by the context of the deployment") {
  RopeSpec spec;
  spec.scaling = RopeSpec::Scaling::kLongrope;
  spec.factor = 4;
  spec.original_context = 100;
  spec.short_divisors = {1, 2};
  spec.long_divisors = {4, 8};
  CHECK(Rope(spec, 4, 100).frequencies() == std::vector<float>{1.0f, 0.005f});
  CHECK(Rope(spec, 4, 101).frequencies() == std::vector<float>{0.25f, 0.00125f});
  CHECK(Rope(spec, 4, 100).attention_factor() ==
        Approx(std::sqrt(1 + std::log(4.0) / std::log(100.0))));

  RopeSpec dynamic;
  dynamic.scaling = RopeSpec::Scaling::kDynamic;
  dynamic.factor = 2;
  dynamic.original_context = 100;
  CHECK(Rope(dynamic, 8, 80).frequencies() == Rope(RopeSpec{}, 8).frequencies());
  RopeSpec grown;  // 10000 * (2 * 400 / 100 - 1) ^ (8 / 6)
  grown.theta = 10000 * std::pow(7.0, 8.0 / 6);
  const Rope expected(grown, 8), found(dynamic, 8, 400);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(found.frequencies()[i] == Approx(expected.frequencies()[i]));
  }
}

}  // namespace
}  // namespace tessera::worker
