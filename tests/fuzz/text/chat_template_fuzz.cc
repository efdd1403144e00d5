// A template from anywhere, over a fixed conversation: refused, or rendered within its limits.
#include <string_view>

#include "server/text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::server;  // NOLINT: one function
  SpecialTokens tokens;
  tokens.bos_token = "<s>";
  const auto made =
      ChatTemplate::Parse(std::string_view(reinterpret_cast<const char*>(data), size), tokens);
  if (!made.ok()) return 0;
  ChatTemplate::Input input;
  input.messages = nlohmann::ordered_json::parse(
      R"([{"role": "user", "content": "Hi <b>"}, {"role": "tool", "content": [{"type": "text", "text": "x"}], "n": 2.5}])");
  const auto rendered = (*made)->Render(input);
  if (!rendered.ok()) return 0;
  size_t at = 0;
  for (const Segment& segment : rendered->segments) {
    if (segment.begin != at || segment.end <= at) __builtin_trap();
    at = segment.end;
  }
  if (at != rendered->text.size()) __builtin_trap();
  return 0;
}
