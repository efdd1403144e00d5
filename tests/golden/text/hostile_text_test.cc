// Malformed and hostile tokenizers and templates: refused, or read without harm.
#include <catch2/catch.hpp>

#include <chrono>

#include "server/text/chat_template.h"
#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

using tests::Fixture;

TEST_CASE("tokenizers of fixtures/bad are refused where the manifest says so, and never harm") {
  const nlohmann::json manifest = tests::ReadJson(Fixture("bad/manifest.json"));
  size_t tried = 0;
  for (const auto& entry : manifest["entries"]) {
    if (entry["kind"] != "tokenizer") continue;
    ++tried;
    const std::string name = entry["name"];
    const auto tokenizer = Tokenizer::Load(Fixture("bad/" + name));
    INFO(name << ": " << tokenizer.status());
    const std::string expect = entry["expect"];
    if (expect.rfind("refused with", 0) == 0) {
      REQUIRE_FALSE(tokenizer.ok());
      CHECK(absl::IsInvalidArgument(tokenizer.status()));
      CHECK_THAT(std::string(tokenizer.status().message()), Catch::Contains("tokenizer.json"));
    } else if (tokenizer.ok()) {
      CHECK((*tokenizer)->EncodeIds("The quick brown fox", {}).ok());
    }
  }
  CHECK(tried == 6);
}

TEST_CASE("a pattern of exponential time ends in an error, not in a hang") {
  const auto tokenizer = Tokenizer::Load(Fixture("bad/tok_slow_regex"));
  INFO(tokenizer.status());
  REQUIRE(tokenizer.ok());
  const auto start = std::chrono::steady_clock::now();
  const auto ids = (*tokenizer)->EncodeIds(std::string(5000, 'a') + "b", {});
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start);
  CHECK(absl::IsInvalidArgument(ids.status()));
  CHECK(seconds.count() < 30);
}

TEST_CASE("templates of fixtures/bad are refused at load or when they run") {
  const nlohmann::json manifest = tests::ReadJson(Fixture("bad/manifest.json"));
  size_t tried = 0;
  for (const auto& entry : manifest["entries"]) {
    if (entry["kind"] != "chat_template") continue;
    ++tried;
    const std::string name = entry["name"];
    INFO(name);
    const auto made = ChatTemplate::Load(Fixture("bad/" + name),
                                         Fixture("bad/" + name + "/chat_template.jinja").string());
    absl::Status status = made.status();
    if (made.ok()) {
      ChatTemplate::Input input;
      input.messages = nlohmann::ordered_json::parse(R"([{"role": "user", "content": "Hi"}])");
      status = (*made)->Render(input).status();
    }
    INFO(status);
    CHECK((absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status)));
  }
  CHECK(tried == 5);
}

TEST_CASE("a template that cannot be parsed names the line and the column") {
  const auto made = ChatTemplate::Parse("line one\n{% if messages %}\n  {{ messages | }}", {});
  REQUIRE_FALSE(made.ok());
  CHECK_THAT(std::string(made.status().message()), Catch::Contains("line 3, column 17"));
}

}  // namespace
}  // namespace tessera::server
