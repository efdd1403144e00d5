#include "server/engine/sequence.h"

#include <catch2/catch.hpp>

#include "tests/support/demo_tokenizer.h"

namespace tessera::server {
namespace {

using tests::DemoTokenizer;

// The bundled model's tokenizer: id 68 is "a", 69 "b", ..., 93 "z"; 2 is <|im_end|>; 131 and 106
// are the two bytes of "é".
Request Prompt() {
  Request request;
  request.prompt = {0, 90, 91};
  return request;
}

std::vector<Token> Ids(const std::vector<uint32_t>& ids) {
  std::vector<Token> tokens;
  for (uint32_t id : ids) tokens.push_back({.id = id});
  return tokens;
}

TEST_CASE("the log holds prompt and answer, the text the answer alone") {
  Sequence sequence(Prompt(), 100, DemoTokenizer());
  CHECK(sequence.Append(Ids({68})).text == "a");
  CHECK(sequence.Append(Ids({69, 70})).text == "bc");
  CHECK(sequence.log() == std::vector<uint32_t>{0, 90, 91, 68, 69, 70});
  CHECK(sequence.generated() == 3);
  CHECK_FALSE(sequence.finished().has_value());
}

TEST_CASE("a request for the prompt alone ends without a token") {
  Request request = Prompt();
  request.max_tokens = 0;
  Sequence echo(request, 100, DemoTokenizer());
  REQUIRE(echo.finished().has_value());
  CHECK(echo.finished()->reason == FinishReason::kLength);
  CHECK(echo.finished()->completion_tokens == 0);

  request.prompt_logprobs = 0;  // of what has to be computed first; the token drawn with it is none
  Sequence scored(request, 100, DemoTokenizer());
  CHECK_FALSE(scored.finished().has_value());
  SequenceStart start;
  scored.Describe(start);
  CHECK(start.max_tokens == 1);
  DeltaEvent delta = scored.Append(Ids({68}));
  CHECK(delta.text.empty());
  CHECK(delta.tokens.empty());
  REQUIRE(scored.finished().has_value());
  CHECK(scored.finished()->reason == FinishReason::kLength);
  CHECK(scored.finished()->completion_tokens == 0);
}

TEST_CASE("text leaves in whole characters") {
  Sequence sequence(Prompt(), 100, DemoTokenizer());
  DeltaEvent half = sequence.Append(Ids({131}));
  CHECK(half.text == "");
  CHECK(half.tokens.size() == 1);
  CHECK(sequence.Append(Ids({106})).text == "\xC3\xA9");
}

TEST_CASE("a stop id ends the sequence and gives no text, unless it is asked for") {
  Request request = Prompt();
  request.stop_token_ids = {69};
  Sequence sequence(request, 100, DemoTokenizer());
  DeltaEvent delta = sequence.Append(Ids({68, 69, 70}));
  CHECK(delta.text == "a");
  CHECK(delta.tokens.size() == 2);  // the one behind the end is dropped
  REQUIRE(sequence.finished().has_value());
  CHECK(sequence.finished()->reason == FinishReason::kStop);
  CHECK(sequence.finished()->stop_token_id == 69u);
  CHECK(sequence.finished()->prompt_tokens == 3);
  CHECK(sequence.finished()->completion_tokens == 2);

  request.include_stop = true;
  Sequence with_stop(request, 100, DemoTokenizer());
  CHECK(with_stop.Append(Ids({68, 69})).text == "ab");
}

TEST_CASE("a stop string over the border of tokens is held back and cut off") {
  Request request = Prompt();
  request.stop_strings = {"bc"};
  Sequence sequence(request, 100, DemoTokenizer());
  CHECK(sequence.Append(Ids({68})).text == "a");
  CHECK(sequence.Append(Ids({69})).text == "");
  CHECK(sequence.Append(Ids({70})).text == "");
  REQUIRE(sequence.finished().has_value());
  CHECK(sequence.finished()->reason == FinishReason::kStop);
  CHECK(sequence.finished()->stop_string == "bc");
  CHECK(sequence.finished()->completion_tokens == 3);
}

TEST_CASE("a stop string is part of the text where that is asked for") {
  Request request = Prompt();
  request.stop_strings = {"bc"};
  request.include_stop = true;
  Sequence sequence(request, 100, DemoTokenizer());
  std::string text;
  for (uint32_t id : {68, 69, 70}) text += sequence.Append(Ids({id})).text;
  CHECK(text == "abc");
  CHECK(sequence.finished()->stop_string == "bc");
}

TEST_CASE("stop strings within min_tokens do not count") {
  Request request = Prompt();
  request.stop_strings = {"a", "c"};
  request.min_tokens = 2;
  Sequence sequence(request, 100, DemoTokenizer());
  CHECK(sequence.Append(Ids({68})).text == "a");
  CHECK(sequence.Append(Ids({69})).text == "b");
  CHECK_FALSE(sequence.finished().has_value());
  CHECK(sequence.Append(Ids({70})).text == "");
  CHECK(sequence.finished()->stop_string == "c");
}

TEST_CASE("the length ends the sequence and lets out what was held back") {
  Request request = Prompt();
  request.max_tokens = 2;
  request.stop_strings = {"bcd"};
  Sequence sequence(request, 100, DemoTokenizer());
  CHECK(sequence.Append(Ids({68})).text == "a");
  CHECK(sequence.Append(Ids({69})).text == "b");
  REQUIRE(sequence.finished().has_value());
  CHECK(sequence.finished()->reason == FinishReason::kLength);
  CHECK(sequence.finished()->stop_string == "");
}

TEST_CASE("an answer ends with the context where no max_tokens is given") {
  Sequence sequence(Prompt(), 5, DemoTokenizer());
  CHECK(sequence.max_tokens() == 2);
  CHECK(sequence.Append(Ids({68, 69, 70})).text == "ab");
  CHECK(sequence.finished()->reason == FinishReason::kLength);
}

TEST_CASE("special tokens are left out of the text unless they are kept") {
  Sequence plain(Prompt(), 100, DemoTokenizer());
  CHECK(plain.Append(Ids({68, 2, 69})).text == "ab");
  Request request = Prompt();
  request.keep_special_tokens = true;
  Sequence kept(request, 100, DemoTokenizer());
  CHECK(kept.Append(Ids({68, 2, 69})).text == "a<|im_end|>b");
}

TEST_CASE("a sequence cut anywhere and continued gives the text of the whole one") {
  const std::vector<uint32_t> ids = {68, 131, 106, 69, 70, 71, 72};
  Request request = Prompt();
  request.stop_strings = {"bce"};
  Sequence whole(request, 100, DemoTokenizer());
  std::string expected = whole.Append(Ids(ids)).text;
  for (size_t cut = 0; cut <= ids.size(); ++cut) {
    INFO("cut after " << cut << " ids");
    Sequence first(request, 100, DemoTokenizer());
    std::vector<uint32_t> head(ids.begin(), ids.begin() + cut);
    std::vector<uint32_t> tail(ids.begin() + cut, ids.end());
    std::string text = first.Append(Ids(head)).text;
    Request more = request;
    more.continue_from = head;
    Sequence second(more, 100, DemoTokenizer());
    CHECK(second.generated() == cut);
    text += second.Append(Ids(tail)).text;
    CHECK(text == expected);
  }
}

TEST_CASE("a continuation that had already ended ends at once") {
  Request request = Prompt();
  request.stop_token_ids = {69};
  request.continue_from = {68, 69};
  Sequence sequence(request, 100, DemoTokenizer());
  REQUIRE(sequence.finished().has_value());
  CHECK(sequence.finished()->reason == FinishReason::kStop);
  CHECK(sequence.finished()->completion_tokens == 2);
}

TEST_CASE("prompt logprobs that come again after a preemption are kept once") {
  Request request = Prompt();
  request.prompt_logprobs = 0;
  Sequence sequence(request, 100, DemoTokenizer());
  CHECK_FALSE(sequence.prompt_logprobs_complete());
  sequence.AddPromptLogprobs(1, Ids({90}));
  sequence.AddPromptLogprobs(1, Ids({90, 91}));
  CHECK(sequence.prompt_logprobs_complete());
  auto tokens = sequence.TakePromptLogprobs();
  REQUIRE(tokens.size() == 2);
  CHECK(tokens[0].id == 90);
  CHECK(tokens[1].id == 91);
  SequenceStart start;
  sequence.Describe(start);
  CHECK_FALSE(start.prompt_logprobs.has_value());
}

}  // namespace
}  // namespace tessera::server
