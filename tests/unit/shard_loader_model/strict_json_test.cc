#include "shard_loader/model/strict_json.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

using Catch::Matchers::Contains;

std::string Message(const absl::StatusOr<nlohmann::json>& result) {
  CHECK(result.status().code() == absl::StatusCode::kDataLoss);
  return std::string(result.status().message());
}

TEST_CASE("documents come out as the library itself would parse them") {
  for (const char* text :
       {"{}", R"({"a": [1, -2, 2.5, "x", null, true, {"b": []}], "c": {"d": {"e": 1}}})",
        R"({"a": 18446744073709551615, "b": -9223372036854775808, "c": "\u00e9"})"}) {
    const auto parsed = ParseJsonObject(text, "file");
    REQUIRE(parsed.ok());
    CHECK(*parsed == nlohmann::json::parse(text));
  }
}

TEST_CASE("the last of two equal keys counts, or both are refused") {
  constexpr const char* kTwice = R"({"a": {"b": 1, "b": 2}})";
  CHECK((*ParseJsonObject(kTwice, "file"))["a"]["b"] == 2);
  CHECK_THAT(Message(ParseJsonObject(kTwice, "file", {.refuse_duplicates = true})),
             Contains("'b' stands there twice"));
}

TEST_CASE("nesting is followed down to the limit and no further") {
  const auto nested = [](int depth) {
    return "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  CHECK(ParseJsonObject(nested(32), "file").ok());
  CHECK_THAT(Message(ParseJsonObject(nested(33), "file")), Contains("deeper than 32"));
  CHECK_THAT(Message(ParseJsonObject("{\"a\":" + std::string(1 << 20, '['), "file")),
             Contains("deeper than 32"));
}

TEST_CASE("anything but an object at the top is refused") {
  for (const char* text : {"[]", "1", "null", "\"x\""}) {
    CHECK_THAT(Message(ParseJsonObject(text, "file")), Contains("expected an object"));
  }
}

TEST_CASE("broken JSON is refused with a short message that names the file") {
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("{\"a\": 1}}"), std::string("{\"\xff\": 1}"),
        "{\"a\": " + std::string(100000, '9') + "}", "{\"a\": \"" + std::string(100000, 'x')}) {
    const std::string message = Message(ParseJsonObject(text, "file.json"));
    CHECK_THAT(message, Contains("file.json: no valid JSON"));
    CHECK(message.size() < 400);
  }
}

TEST_CASE("a file above the limit is refused before it is parsed") {
  CHECK_THAT(Message(ParseJsonObject("{\"a\": 1}", "file", {.max_bytes = 4})),
             Contains("more than the 4"));
}

TEST_CASE("excerpts hold printable ASCII and stop after sixty characters") {
  CHECK(Excerpt("a\nb\x1b[31m\xff") == "a?b?[31m?");
  CHECK(Excerpt(std::string(61, 'x')) == std::string(60, 'x') + "...");
}

}  // namespace
}  // namespace tessera::shard_loader
