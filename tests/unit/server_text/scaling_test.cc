// Time per byte must not grow with the text.
#include <catch2/catch.hpp>

#include <algorithm>
#include <ctime>
#include <functional>
#include <iostream>

#include "server/text/stop_matcher.h"
#include "server/text/tokenizer.h"
#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

constexpr size_t kSmall = 10'000;
constexpr size_t kLarge = 10'000'000;
constexpr size_t kLongestWord = 1'000'000;

struct Shape {
  const char* name;
  std::function<std::string(size_t size, uint32_t run)> make;
  size_t large;  // bytes
};

double ThreadSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Nanoseconds of this thread's own time per byte, the best of a few runs: what else runs on the
// machine only ever adds to it. Every run has
// another text, so that a small one is no more remembered than a large one.
double TimePerByte(const Tokenizer& tokenizer, const Shape& shape, size_t size) {
  double best = 1e9;
  double spent = 0;
  for (uint32_t run = 0; run < 200 && (run < 3 || spent < 0.3); ++run) {
    const std::string text = shape.make(size - run, run);
    const double start = ThreadSeconds();
    const auto ids = tokenizer.EncodeIds(text, {});
    const double seconds = ThreadSeconds() - start;
    INFO(ids.status());
    REQUIRE(ids.ok());
    spent += seconds;
    best = std::min(best, seconds * 1e9 / static_cast<double>(text.size()));
  }
  return best;
}

std::string Repeated(const std::string& part, size_t size) {
  std::string text;
  while (text.size() < size) text += part;
  text.resize(size);
  return text;
}

std::string Letters(size_t size, uint32_t run) {
  std::string text;
  uint32_t state = run + 1;
  for (size_t i = 0; i < size; ++i) {
    state = state * 1664525 + 1013904223;
    text += static_cast<char>('a' + (state >> 24) % 26);
  }
  return text;
}

TEST_CASE(
    "time per byte from ten kilobytes to ten megabytes, and to words of a million characters, "
    "grows "
    "by less than a factor two") {
  const std::string prose = "The quick brown fox jumps over 12 lazy dogs, doesn't it?\n";
  for (const char* kind : {"gpt2", "llama3", "qwen2", "llama2", "gemma", "deepseek", "t5"}) {
    const auto tokenizer = Tokenizer::Load(tests::Fixture(std::string("tokenizers/") + kind));
    REQUIRE(tokenizer.ok());
    const Shape shapes[] = {
        {"prose", [&](size_t size, uint32_t) { return Repeated(prose, size); }, kLarge},
        {"spaces", [](size_t size, uint32_t) { return std::string(size, ' '); }, kLarge},
        {"one letter", [](size_t size, uint32_t) { return std::string(size, 'a'); }, kLongestWord},
        {"one word", Letters, kLongestWord}};
    for (const Shape& shape : shapes) {
      const double small = TimePerByte(**tokenizer, shape, kSmall);
      const double large = TimePerByte(**tokenizer, shape, shape.large);
      std::cout << kind << ", " << shape.name << ": " << small << " ns per byte at 10 KB, " << large
                << " at " << shape.large / 1'000'000 << " MB\n";
      INFO(kind << ", " << shape.name << ": " << small << " against " << large);
      CHECK(large < 2 * small);
    }
  }
}

}  // namespace
}  // namespace tessera::server
