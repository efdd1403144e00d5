#include "server/text/tokenizer.h"

#include <catch2/catch.hpp>

#include "server/text/detokenizer.h"

namespace tessera::server {
namespace {

using Ids = std::vector<uint32_t>;

// A word-level tokenizer with the given parts; words a b c have the ids 0 1 2, <unk> 3.
std::string Words(const std::string& extra) {
  return R"({"version": "1.0", "model": {"type": "WordLevel", "unk_token": "<unk>",
      "vocab": {"a": 0, "b": 1, "c": 2, "<unk>": 3}})" +
         extra + "}";
}

std::unique_ptr<const Tokenizer> Make(const std::string& json) {
  auto tokenizer = Tokenizer::FromJson(json);
  INFO(tokenizer.status());
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

Ids Encode(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options = {}) {
  const auto ids = tokenizer.EncodeIds(text, options);
  INFO(ids.status());
  REQUIRE(ids.ok());
  return *ids;
}

absl::Status Refused(const std::string& json) { return Tokenizer::FromJson(json).status(); }

constexpr char kSpaces[] = R"(, "pre_tokenizer": {"type": "WhitespaceSplit"})";

TEST_CASE("text that is not UTF-8 is refused with the byte") {
  const auto tokenizer = Make(Words(kSpaces));
  const auto ids = tokenizer->EncodeIds("a \xC3(", {});
  CHECK(absl::IsInvalidArgument(ids.status()));
  CHECK_THAT(std::string(ids.status().message()), Catch::Contains("byte 2"));
}

TEST_CASE("offsets are bytes of the input text") {
  const auto tokenizer = Make(Words(kSpaces));
  const auto pieces = tokenizer->Encode("b  \xC3\xA9 a", {});
  REQUIRE(pieces.ok());
  REQUIRE(pieces->size() == 3);
  CHECK((*pieces)[1].id == 3);
  CHECK((*pieces)[1].begin == 3);
  CHECK((*pieces)[1].end == 5);
  CHECK((*pieces)[2].begin == 6);
}

TEST_CASE("an unknown component is named, a malformed one is refused") {
  CHECK(absl::IsUnimplemented(Refused(Words(R"(, "normalizer": {"type": "Magic"})"))));
  CHECK(absl::IsUnimplemented(Refused(Words(R"(, "pre_tokenizer": {"type": "Magic"})"))));
  CHECK(absl::IsUnimplemented(Refused(Words(R"(, "decoder": {"type": "Magic"})"))));
  CHECK(absl::IsUnimplemented(Refused(Words(R"(, "post_processor": {"type": "Magic"})"))));
  CHECK(absl::IsInvalidArgument(Refused(Words(R"(, "normalizer": 7)"))));
  CHECK(absl::IsInvalidArgument(Refused(Words(
      R"(, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"})"))));
  CHECK(absl::IsInvalidArgument(Refused("[]")));
  CHECK(absl::IsInvalidArgument(Refused("{\"model\": ")));
}

TEST_CASE("a million nested sequences are refused, not followed") {
  std::string nested;
  for (int i = 0; i < 100000; ++i) nested += R"({"type":"Sequence","normalizers":[)";
  CHECK_FALSE(Tokenizer::FromJson(Words(", \"normalizer\": " + nested)).ok());
  std::string closed = nested;
  for (int i = 0; i < 100000; ++i) closed += "]}";
  CHECK(absl::IsInvalidArgument(Refused(Words(", \"normalizer\": " + closed))));
}

constexpr char kAdded[] = R"(, "pre_tokenizer": {"type": "WhitespaceSplit"}, "added_tokens": [
  {"id": 4, "content": "<end>", "special": true, "normalized": false},
  {"id": 5, "content": "<tab>", "special": false, "normalized": false},
  {"id": 6, "content": "<left>", "special": true, "normalized": false, "lstrip": true},
  {"id": 7, "content": "word", "special": false, "normalized": false, "single_word": true}])";

TEST_CASE("added tokens are found in the text, special ones only where they are asked for") {
  const auto tokenizer = Make(Words(kAdded));
  CHECK(Encode(*tokenizer, "a<end>b") == Ids{0, 4, 1});
  CHECK(Encode(*tokenizer, "a <end> b", {.parse_special = false}) == Ids{0, 3, 1});
  CHECK(Encode(*tokenizer, "a<tab>b", {.parse_special = false}) == Ids{0, 5, 1});
  CHECK(Encode(*tokenizer, "word words") == Ids{7, 3});
  const auto pieces = tokenizer->Encode("a  <left>", {});
  REQUIRE(pieces->size() == 2);
  CHECK((*pieces)[1].begin == 1);
}

TEST_CASE("a control token is not found where a guarded range touches it") {
  const auto tokenizer = Make(Words(kAdded));
  const std::string text = "<end> <end> b";
  const auto guarded = [&](std::vector<ByteRange> ranges) {
    return *tokenizer->EncodeGuarded(text, false, ranges);
  };
  CHECK(guarded({}) == Ids{4, 4, 1});
  CHECK(guarded({{0, 5}}) == Ids{3, 4, 1});
  CHECK(guarded({{0, 2}}) == Ids{3, 4, 1});
  CHECK(guarded({{7, 8}}) == Ids{4, 3, 1});
  CHECK(guarded({{0, 13}}) == Ids{3, 3, 1});
  CHECK(guarded({{5, 6}, {12, 13}}) == Ids{4, 4, 1});
}

TEST_CASE("special tokens are skipped or kept when ids become text") {
  const auto tokenizer = Make(Words(kAdded));
  CHECK(tokenizer->Decode({0, 4, 1}, false) == "a <end> b");
  CHECK(tokenizer->Decode({0, 4, 1}, true) == "a b");
  CHECK(tokenizer->Decode({0, 99, 1}, true) == "a b");
  CHECK(tokenizer->IsSpecial(4));
  CHECK_FALSE(tokenizer->IsSpecial(5));
  CHECK(tokenizer->size() == 8);
  CHECK(tokenizer->TokenId("<end>") == 4u);
  CHECK_FALSE(tokenizer->TokenId("nothing").has_value());
}

TEST_CASE("the post-processor's tokens surround the text unless it is asked not to") {
  const auto tokenizer = Make(
      Words(R"(, "post_processor": {"type": "BertProcessing", "cls": ["a", 0], "sep": ["c", 2]})"));
  CHECK(Encode(*tokenizer, "b") == Ids{0, 1, 2});
  CHECK(Encode(*tokenizer, "b", {.add_special_tokens = false}) == Ids{1});
}

TEST_CASE("bytes of an invalid run of byte tokens become one replacement character each") {
  const auto tokenizer = Make(R"({"model": {"type": "WordLevel", "unk_token": "x",
      "vocab": {"x": 0, "<0xE2>": 1, "<0x82>": 2, "<0xAC>": 3}},
      "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}})");
  CHECK(tokenizer->Decode({1, 2, 3, 0}, false) == "\xE2\x82\xACx");
  CHECK(tokenizer->Decode({1, 2, 0}, false) == "\xEF\xBF\xBD\xEF\xBF\xBDx");
  CHECK(tokenizer->TokenBytes(2) == "\x82");
  Detokenizer stream(*tokenizer, false);
  CHECK(stream.Append(1) == "");
  CHECK(stream.Append(2) == "");
  CHECK(stream.Append(3) == "");
  CHECK(stream.Append(0) == "\xE2\x82\xACx");
  CHECK(stream.Finish() == "");
}

TEST_CASE("an incremental decoder holds half a character back") {
  const auto tokenizer = Make(R"({"model": {"type": "WordLevel", "unk_token": "a",
      "vocab": {"a": 0, "\u00e2": 1, "\u0124": 2, "\u00ac": 3}}, "decoder": {"type": "ByteLevel"}})");
  Detokenizer stream(*tokenizer, true);
  CHECK(stream.Append(1) == "");
  CHECK(stream.Append(2) == "");
  CHECK(stream.Append(3) == "\xE2\x82\xAC");
  CHECK(stream.Append(1) == "");
  CHECK(stream.Append(0) ==
        "\xEF\xBF\xBD"
        "a");
  CHECK(stream.Append(1) == "");
  CHECK(stream.Finish() == "\xEF\xBF\xBD");
}

TEST_CASE("every split behavior keeps what it says of the matches") {
  const auto split = [](const std::string& behavior, bool invert) {
    return Make(R"({"model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0,
      "the": 1, "-": 2, "final": 3, "countdown": 4, "the-": 5, "final-": 6, "-final": 7,
      "-countdown": 8, "--": 9}}, "pre_tokenizer": {"type": "Split", "pattern": {"String": "-"},
      "behavior": ")" +
                behavior + R"(", "invert": )" + (invert ? "true" : "false") + "}}");
  };
  const std::string text = "the-final--countdown";
  CHECK(Encode(*split("Removed", false), text) == Ids{1, 3, 4});
  CHECK(Encode(*split("Isolated", false), text) == Ids{1, 2, 3, 2, 2, 4});
  CHECK(Encode(*split("MergedWithPrevious", false), text) == Ids{5, 6, 2, 4});
  CHECK(Encode(*split("MergedWithNext", false), text) == Ids{1, 7, 2, 8});
  CHECK(Encode(*split("Contiguous", false), text) == Ids{1, 2, 3, 9, 4});
  CHECK(Encode(*split("Removed", true), text) == Ids{2, 2, 2});
}

}  // namespace
}  // namespace tessera::server
