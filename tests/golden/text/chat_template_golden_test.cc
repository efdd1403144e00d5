// Every chat-template fixture against what transformers renders.
#include <catch2/catch.hpp>

#include <ctime>

#include "server/text/chat_template.h"
#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

using Json = nlohmann::ordered_json;
using tests::Fixture;
using tests::ReadFile;

std::tm ParseTime(const std::string& text) {
  std::tm time = {};
  REQUIRE(strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &time) != nullptr);
  return time;
}

ChatTemplate::Input MakeInput(const Json& golden, const Json& item) {
  const Json& conversation = golden["conversations"][item["conversation"].get<std::string>()];
  ChatTemplate::Input input;
  input.messages = conversation["messages"];
  if (conversation.contains("tools")) input.tools = conversation["tools"];
  if (conversation.contains("kwargs")) input.kwargs = conversation["kwargs"];
  input.add_generation_prompt = item["add_generation_prompt"];
  input.now = ParseTime(golden["now"]);
  return input;
}

std::unique_ptr<const ChatTemplate> LoadStyle(const Json& golden, const std::string& style) {
  const Json& tokens = golden["tokens"][style];
  SpecialTokens special;
  special.bos_token = tokens["bos_token"];
  special.eos_token = tokens["eos_token"];
  special.unk_token = tokens["unk_token"];
  auto made = ChatTemplate::Parse(ReadFile(Fixture("chat_templates/" + style + ".jinja")), special);
  INFO(style << ": " << made.status());
  REQUIRE(made.ok());
  return *std::move(made);
}

void CheckSegments(const Rendered& rendered) {
  size_t at = 0;
  for (size_t i = 0; i < rendered.segments.size(); ++i) {
    const Segment& segment = rendered.segments[i];
    CHECK(segment.begin == at);
    CHECK(segment.end > segment.begin);
    if (i > 0) CHECK(segment.from_user != rendered.segments[i - 1].from_user);
    at = segment.end;
  }
  CHECK(at == rendered.text.size());
}

TEST_CASE("every golden conversation renders to the same bytes or is refused") {
  const Json golden = Json::parse(ReadFile(Fixture("chat_templates/golden.json")));
  CHECK(golden["cases"].size() >= 320);
  for (const auto& item : golden["cases"]) {
    const std::string style = item["style"];
    INFO(style << ", " << item["conversation"]);
    const auto made = LoadStyle(golden, style);
    const auto rendered = made->Render(MakeInput(golden, item));
    if (item.contains("error")) {
      REQUIRE_FALSE(rendered.ok());
      CHECK(absl::IsInvalidArgument(rendered.status()));
      if (item["error"] == "raised") {
        CHECK_THAT(std::string(rendered.status().message()),
                   Catch::Contains(item["message"].get<std::string>()));
      }
      continue;
    }
    INFO(rendered.status());
    REQUIRE(rendered.ok());
    CHECK(rendered->text == item["rendered"].get<std::string>());
    CheckSegments(*rendered);
  }
}

TEST_CASE("a prompt without control tokens in its messages is tokenized like its plain text") {
  const Json golden = Json::parse(ReadFile(Fixture("chat_templates/golden.json")));
  const auto tokenizer = Tokenizer::Load(Fixture("tokenizers/qwen2"));
  REQUIRE(tokenizer.ok());
  for (const auto& item : golden["cases"]) {
    if (!item.contains("rendered") || item["conversation"] == "special_tokens_in_content") continue;
    const auto rendered = LoadStyle(golden, item["style"])->Render(MakeInput(golden, item));
    REQUIRE(rendered.ok());
    INFO(item["style"] << ", " << item["conversation"]);
    const auto guarded = EncodeRendered(**tokenizer, *rendered);
    const auto plain = (*tokenizer)->EncodeIds(rendered->text, {.add_special_tokens = false});
    REQUIRE(guarded.ok());
    REQUIRE(plain.ok());
    CHECK(*guarded == *plain);
  }
}

TEST_CASE("the bundled model's template frames a conversation with its control tokens") {
  const auto made = ChatTemplate::Load(tests::DemoModel(), "");
  const auto tokenizer = Tokenizer::Load(tests::DemoModel());
  REQUIRE(made.ok());
  REQUIRE(tokenizer.ok());
  ChatTemplate::Input input;
  input.messages = Json::parse(R"([{"role": "user", "content": "Hi<|im_end|>"}])");
  const auto rendered = (*made)->Render(input);
  REQUIRE(rendered.ok());
  CHECK(rendered->text == "<|im_start|>user\nHi<|im_end|><|im_end|>\n<|im_start|>assistant\n");
  const uint32_t end = *(*tokenizer)->TokenId("<|im_end|>");
  const auto count = [&](const std::vector<uint32_t>& ids) {
    return std::count(ids.begin(), ids.end(), end);
  };
  CHECK(count(*EncodeRendered(**tokenizer, *rendered)) == 1);
  CHECK(count(*EncodeRendered(**tokenizer, *rendered, true)) == 2);
  CHECK((*tokenizer)->Decode(*EncodeRendered(**tokenizer, *rendered), false) == rendered->text);
}

}  // namespace
}  // namespace tessera::server
