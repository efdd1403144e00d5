#include "server/text/stop_matcher.h"

#include <catch2/catch.hpp>

#include <random>

namespace tessera::server {
namespace {

// What a matcher must give for the whole text: the first string that ends, of those the longest.
struct Expected {
  std::string text;
  std::string matched;
};
Expected Naive(const std::vector<std::string>& strings, const std::string& text, bool include) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::string best;
    for (const std::string& string : strings) {
      if (string.size() <= end && string.size() > best.size() &&
          text.compare(end - string.size(), string.size(), string) == 0) {
        best = string;
      }
    }
    if (!best.empty()) return {text.substr(0, include ? end : end - best.size()), best};
  }
  return {text, ""};
}

TEST_CASE("a stop string is found over the borders of pieces and does not leave") {
  StopMatcher matcher({"END"}, false);
  CHECK(matcher.Push("abE") == "ab");
  CHECK(matcher.Push("N") == "");
  CHECK(matcher.Push("Dxyz") == "");
  CHECK(matcher.stopped());
  CHECK(matcher.matched() == "END");
  CHECK(matcher.Push("more") == "");
}

TEST_CASE("held text is released when it can no longer become a stop string") {
  StopMatcher matcher({"END"}, false);
  CHECK(matcher.Push("E") == "");
  CHECK(matcher.held() == 1);
  CHECK(matcher.Push("EN") == "E");
  CHECK(matcher.Push("O") == "ENO");
  CHECK(matcher.Push("EN") == "");
  CHECK(matcher.Finish() == "EN");
  CHECK_FALSE(matcher.stopped());
}

TEST_CASE("the stop string goes out where it is asked for") {
  StopMatcher matcher({"\n\n"}, true);
  CHECK(matcher.Push("a\n") == "a");
  CHECK(matcher.Push("\nb") == "\n\n");
  CHECK(matcher.stopped());
}

TEST_CASE("of two stop strings the first that ends counts, then the longest") {
  StopMatcher inner({"abcd", "bc"}, false);
  CHECK(inner.Push("xabcd") == "xa");
  CHECK(inner.matched() == "bc");
  StopMatcher longest({"c", "abc"}, false);
  CHECK(longest.Push("xabc") == "x");
  CHECK(longest.matched() == "abc");
}

TEST_CASE("without stop strings, or with empty ones, text passes through") {
  StopMatcher none({}, false);
  CHECK(none.Push("abc") == "abc");
  StopMatcher empty({""}, false);
  CHECK(empty.Push("abc") == "abc");
  CHECK_FALSE(empty.stopped());
}

TEST_CASE("random texts in random pieces agree with a naive search") {
  std::mt19937 random(7);
  const auto word = [&](size_t longest) {
    std::string text;
    const size_t size = random() % (longest + 1);
    for (size_t i = 0; i < size; ++i) text += static_cast<char>('a' + random() % 2);
    return text;
  };
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> strings(1 + random() % 3);
    for (std::string& string : strings) string = word(5);
    const bool include = random() % 2 == 0;
    const std::string text = word(30);
    StopMatcher matcher(strings, include);
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const size_t size = 1 + random() % 4;
      out += matcher.Push(std::string_view(text).substr(at, size));
      at += size;
      // Nothing may leave that the whole text does not keep.
      REQUIRE(Naive(strings, text, include).text.compare(0, out.size(), out) == 0);
    }
    out += matcher.Finish();
    const Expected expected = Naive(strings, text, include);
    REQUIRE(out == expected.text);
    REQUIRE(matcher.matched() == expected.matched);
  }
}

}  // namespace
}  // namespace tessera::server
