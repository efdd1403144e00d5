// The hand-written matcher against Oniguruma: any pattern that it takes, on any text.
#include <string_view>
#include <vector>

#include "server/text/class_pattern.h"
#include "server/text/other_sources.h"
#include "server/text/regex.h"
#include "server/text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::server;  // NOLINT: one function
  static const char* const kNames[] = {"gpt-2", "llama3", "qwen2", "gpt-4o"};
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  // Either "N text" for a well-known pattern, or "pattern \0 text".
  std::string pattern;
  std::string_view text;
  if (!input.empty() && input[0] >= '0' && input[0] <= '3') {
    pattern = *SplitPatternNamed(kNames[input[0] - '0']);
    text = input.substr(1);
  } else {
    const size_t zero = input.find('\0');
    if (zero == std::string_view::npos) return 0;
    pattern = std::string(input.substr(0, zero));
    text = input.substr(zero + 1);
  }
  if (pattern.size() > 500 || FindInvalidUtf8(text) != std::string_view::npos) return 0;
  const auto regex = Regex::Compile(pattern);
  const auto classes = ClassPattern::Parse(pattern);
  if (!regex.ok() || !classes) return 0;
  std::vector<std::pair<size_t, size_t>> slow, fast;
  if (!regex->FindAll(text, [&](size_t b, size_t e) { slow.emplace_back(b, e); }).ok()) return 0;
  if (!classes->FindAll(text, [&](size_t b, size_t e) { fast.emplace_back(b, e); }).ok()) return 0;
  if (slow != fast) __builtin_trap();
  return 0;
}
