// Any bytes as text, through every kind of tokenizer; byte-level ones give them back.
#include <string_view>
#include <vector>

#include "server/text/detokenizer.h"
#include "server/text/stop_matcher.h"
#include "server/text/tokenizer.h"
#include "tests/support/fixtures.h"

namespace {

using tessera::server::Tokenizer;

struct Loaded {
  std::unique_ptr<const Tokenizer> tokenizer;
  bool gives_back;
};

const std::vector<Loaded>& Tokenizers() {
  static const auto* const loaded = [] {
    auto* list = new std::vector<Loaded>;
    for (const auto& [kind, gives_back] :
         std::vector<std::pair<const char*, bool>>{{"gpt2", true},
                                                   {"llama3", true},
                                                   {"deepseek", true},
                                                   {"llama2", false},
                                                   {"gemma", false},
                                                   {"t5", false},
                                                   {"qwen2", false},
                                                   {"metaspace", false}}) {
      auto tokenizer = Tokenizer::Load(tessera::tests::Fixture(std::string("tokenizers/") + kind));
      if (!tokenizer.ok()) __builtin_trap();
      list->push_back({*std::move(tokenizer), gives_back});
    }
    return list;
  }();
  return *loaded;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::server;  // NOLINT: one function
  if (size == 0) return 0;
  const Loaded& loaded = Tokenizers()[data[0] % Tokenizers().size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto ids =
      loaded.tokenizer->EncodeIds(text, {.add_special_tokens = false, .parse_special = false});
  if (!ids.ok()) return 0;
  const auto pieces =
      loaded.tokenizer->Encode(text, {.add_special_tokens = false, .parse_special = false});
  if (!pieces.ok() || pieces->size() != ids->size()) __builtin_trap();
  const std::string decoded = loaded.tokenizer->Decode(*ids, false);
  if (loaded.gives_back && decoded != text) __builtin_trap();
  Detokenizer stream(*loaded.tokenizer, false);
  StopMatcher stop({"ab", "\n\n", "<|im_end|>"}, true);
  std::string streamed, stopped;
  for (uint32_t id : *ids) {
    const std::string piece = stream.Append(id);
    streamed += piece;
    stopped += stop.Push(piece);
  }
  const std::string rest = stream.Finish();
  streamed += rest;
  stopped += stop.Push(rest);
  stopped += stop.Finish();
  if (streamed != decoded || decoded.compare(0, stopped.size(), stopped) != 0) __builtin_trap();
  return 0;
}
