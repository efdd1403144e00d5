// Properties over random input: the fast paths against the plain ones, round trips, streams.
#include <catch2/catch.hpp>

#include <array>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/text/bpe_merges.h"
#include "server/text/byte_level.h"
#include "server/text/class_pattern.h"
#include "server/text/detokenizer.h"
#include "server/text/other_sources.h"
#include "server/text/regex.h"
#include "server/text/tokenizer.h"
#include "server/text/utf8.h"
#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

// Characters of all kinds that the patterns tell apart, in no particular proportion.
std::string RandomText(std::mt19937* random, size_t characters) {
  static const char32_t kSome[] = {
      'a',    'b',   's',    't',    'S',    'T',    'l',    'L',    'v',    'e',     'd',
      'm',    '\'',  ' ',    ' ',    '\n',   '\r',   '\t',   '1',    '2',    '.',     ',',
      '!',    '/',   '_',    0x17F,  0x212A, 0xDF,   0x130,  0x3A3,  0x301,  0x300,   0x308,
      0x627,  0x5D0, 0x4E2D, 0x6587, 0x3042, 0xAC00, 0x1100, 0x1161, 0x11A8, 0x1F600, 0x200D,
      0xFE0F, 0xA0,  0x2028, 0x3000, 0xB2,   0xBD,   0x660,  0x2167, 0x1C5,  0x2B0,   0x1F1E6,
      0x85,   0xB,   0x2581, 0xFFFD, 0xE9,   0xC9,   0xFB01};
  std::string text;
  for (size_t i = 0; i < characters; ++i) {
    char32_t c = kSome[(*random)() % (sizeof kSome / sizeof kSome[0])];
    if ((*random)() % 8 == 0) c = (*random)() % 0x10FFFF;
    if (c >= 0xD800 && c <= 0xDFFF) c = 'x';
    AppendUtf8(c, &text);
  }
  return text;
}

using Matches = std::vector<std::pair<size_t, size_t>>;

TEST_CASE("hand-written matching of the well-known patterns finds what Oniguruma finds") {
  std::vector<std::string> patterns = {
      R"(\p{N}{1,3})",

      R"( {2,})", "[一-龥぀-ゟ゠-ヿ]+",
      R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"};
  for (const char* name : {"gpt-2", "llama3", "qwen2", "gpt-4o"}) {
    patterns.push_back(*SplitPatternNamed(name));
  }
  std::mt19937 random(11);
  for (const std::string& pattern : patterns) {
    INFO(pattern);
    const auto regex = Regex::Compile(pattern);
    const auto classes = ClassPattern::Parse(pattern);
    REQUIRE(regex.ok());
    REQUIRE(classes.has_value());
    for (int round = 0; round < 2000; ++round) {
      const std::string text = RandomText(&random, 1 + random() % 40);
      Matches slow, fast;
      REQUIRE(regex->FindAll(text, [&](size_t b, size_t e) { slow.emplace_back(b, e); }).ok());
      REQUIRE(classes->FindAll(text, [&](size_t b, size_t e) { fast.emplace_back(b, e); }).ok());
      INFO(nlohmann::json(text).dump());
      REQUIRE(fast == slow);
    }
  }
}

TEST_CASE("classes agree with Oniguruma on every character") {
  const std::string pattern = R"([^\r\n\p{L}\p{N}]+|[\p{Lu}\p{Lt}\p{Lm}]+|\p{M}+|\s+)";
  const auto regex = Regex::Compile(pattern);
  const auto classes = ClassPattern::Parse(pattern);
  std::string text;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c > 0xDFFF) AppendUtf8(c, &text);
  }
  Matches slow, fast;
  REQUIRE(regex->FindAll(text, [&](size_t b, size_t e) { slow.emplace_back(b, e); }).ok());
  REQUIRE(classes->FindAll(text, [&](size_t b, size_t e) { fast.emplace_back(b, e); }).ok());
  CHECK(fast == slow);
}

TEST_CASE("patterns of another shape are left to Oniguruma") {
  for (const char* pattern : {"(a+)+$", "a|", "a*", "(?<=a)b", "a+?", "[[:alpha:]]+", "\\p{Han}+",
                              "(ab)+", "^a", ".", "a{2}+", "(?i:ss)", R"(\w+|[^\w\s]+)"}) {
    INFO(pattern);
    CHECK_FALSE(ClassPattern::Parse(pattern).has_value());
  }
}

// The definition, step by step.
void MergeNaively(const MergeTable& merges, std::vector<BpeSymbol>* row) {
  while (true) {
    size_t best = 0;
    uint32_t rank = MergeTable::kNoRank;
    for (size_t i = 0; i + 1 < row->size(); ++i) {
      const uint32_t found = merges.Find((*row)[i].id, (*row)[i + 1].id).rank;
      if (found < rank) {
        rank = found;
        best = i;
      }
    }
    if (rank == MergeTable::kNoRank) return;
    (*row)[best] = {merges.Find((*row)[best].id, (*row)[best + 1].id).result,
                    (*row)[best].length + (*row)[best + 1].length};
    row->erase(row->begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST_CASE("merging short, long and very long rows gives what the definition gives") {
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    // Random merges over an alphabet of two or three, results numbered upwards.
    MergeTable merges(64);
    const auto alphabet = static_cast<uint32_t>(2 + random() % 2);
    uint32_t next = alphabet;
    for (uint32_t rank = 0; rank < 40; ++rank) {
      const auto left = static_cast<uint32_t>(random() % next);
      const auto right = static_cast<uint32_t>(random() % next);
      if (merges.Find(left, right).rank == MergeTable::kNoRank)
        merges.Insert(left, right, {rank, next++});
    }
    const size_t sizes[] = {1 + random() % 48, 49 + random() % 500, 9000 + random() % 4000};
    for (size_t size : sizes) {
      if (size > 1000 && round % 10 != 0) continue;
      std::vector<BpeSymbol> row;
      const bool uniform = random() % 4 == 0;
      for (size_t i = 0; i < size; ++i)
        row.push_back({uniform ? 0 : static_cast<uint32_t>(random() % alphabet), 1});
      std::vector<BpeSymbol> expected = row;
      MergeNaively(merges, &expected);
      MergeSymbols(merges, &row);
      REQUIRE(row.size() == expected.size());
      for (size_t i = 0; i < row.size(); ++i) {
        REQUIRE(row[i].id == expected[i].id);
        REQUIRE(row[i].length == expected[i].length);
      }
    }
  }
}

// Not qwen2: its normalizer composes characters.
TEST_CASE("byte-level tokenizers give any text back, and its bytes token by token") {
  std::mt19937 random(5);
  for (const char* kind : {"gpt2", "llama3", "deepseek", "falcon"}) {
    const auto tokenizer = Tokenizer::Load(tests::Fixture(std::string("tokenizers/") + kind));
    REQUIRE(tokenizer.ok());
    for (int round = 0; round < 500; ++round) {
      const std::string text = RandomText(&random, random() % 60);
      const auto ids = (*tokenizer)->EncodeIds(text, {.add_special_tokens = false});
      REQUIRE(ids.ok());
      INFO(kind << ": " << nlohmann::json(text).dump());
      CHECK((*tokenizer)->Decode(*ids, false) == text);
      std::string bytes;
      for (uint32_t id : *ids) bytes += (*tokenizer)->TokenBytes(id);
      CHECK(bytes == text);
    }
  }
}

// The token of each byte alone, which a byte-level vocabulary has for every one of them.
std::array<uint32_t, 256> ByteTokens(const Tokenizer& tokenizer) {
  std::array<uint32_t, 256> ids{};
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    const auto id = tokenizer.TokenId(PrintableOfBytes(bytes));
    REQUIRE(id.has_value());
    REQUIRE(tokenizer.TokenBytes(*id) == bytes);
    ids[static_cast<size_t>(byte)] = *id;
  }
  return ids;
}

TEST_CASE("random bytes are refused where they are no text, and come back token by token") {
  std::mt19937 random(21);
  for (const char* kind : {"gpt2", "llama3", "qwen2", "deepseek", "falcon"}) {
    const auto tokenizer = Tokenizer::Load(tests::Fixture(std::string("tokenizers/") + kind));
    REQUIRE(tokenizer.ok());
    const auto byte_tokens = ByteTokens(**tokenizer);
    for (int round = 0; round < 500; ++round) {
      std::string bytes(1 + random() % 12, '\0');
      for (char& c : bytes) c = static_cast<char>(random() % (round % 4 == 0 ? 128 : 256));
      INFO(kind << ": " << nlohmann::json::binary({bytes.begin(), bytes.end()}).dump());
      const size_t wrong = FindInvalidUtf8(bytes);
      const auto ids = (*tokenizer)->EncodeIds(bytes, {.add_special_tokens = false});
      REQUIRE(ids.ok() == (wrong == std::string_view::npos));
      if (!ids.ok()) {
        CHECK(absl::IsInvalidArgument(ids.status()));
        CHECK(absl::StrContains(ids.status().message(), absl::StrCat("byte ", wrong, " ")));
      }
      std::vector<uint32_t> one_by_one;
      std::string raw;
      for (char c : bytes) one_by_one.push_back(byte_tokens[static_cast<uint8_t>(c)]);
      for (uint32_t id : one_by_one) raw += (*tokenizer)->TokenBytes(id);
      CHECK(raw == bytes);
      const std::string decoded = (*tokenizer)->Decode(one_by_one, false);
      CHECK(FindInvalidUtf8(decoded) == std::string_view::npos);
      CHECK((decoded == bytes) == ids.ok());
      Detokenizer stream(**tokenizer, false);
      std::string streamed;
      for (uint32_t id : one_by_one) streamed += stream.Append(id);
      CHECK(streamed + stream.Finish() == decoded);
    }
  }
}

TEST_CASE("truncation and padding that a tokenizer.json asks for are left out, as servers do") {
  nlohmann::json spec = tests::ReadJson(tests::Fixture("tokenizers/gpt2/tokenizer.json"));
  const auto plain = Tokenizer::FromJson(spec.dump());
  spec["truncation"] = {
      {"direction", "Right"}, {"max_length", 3}, {"strategy", "LongestFirst"}, {"stride", 0}};
  spec["padding"] = {{"strategy", {{"Fixed", 64}}},
                     {"direction", "Right"},
                     {"pad_to_multiple_of", 8},
                     {"pad_id", 0},
                     {"pad_type_id", 0},
                     {"pad_token", "!"}};
  const auto asked = Tokenizer::FromJson(spec.dump());
  REQUIRE(plain.ok());
  REQUIRE(asked.ok());
  for (const char* text : {"", "x", "The quick brown fox jumps over the lazy dog, and again."}) {
    CHECK((*asked)->EncodeIds(text, {}).value() == (*plain)->EncodeIds(text, {}).value());
  }
}

TEST_CASE("at every prefix of random ids a stream and its end equal the whole decode") {
  std::mt19937 random(9);
  for (const char* kind :
       {"gpt2", "llama2", "llama3", "qwen2", "gemma", "t5", "metaspace", "phi3", "xlm"}) {
    const auto tokenizer = Tokenizer::Load(tests::Fixture(std::string("tokenizers/") + kind));
    REQUIRE(tokenizer.ok());
    for (int round = 0; round < 30; ++round) {
      std::vector<uint32_t> ids(random() % 24);
      // Low ids are bytes and control tokens, which are the ones that matter here.
      for (uint32_t& id : ids) {
        id = static_cast<uint32_t>(random() % (random() % 2 == 0 ? 200 : (*tokenizer)->size() + 3));
      }
      const bool skip = random() % 2 == 0;
      for (size_t size = 0; size <= ids.size(); ++size) {
        Detokenizer stream(**tokenizer, skip);
        std::string text;
        for (size_t i = 0; i < size; ++i) {
          text += stream.Append(ids[i]);
          REQUIRE(FindInvalidUtf8(text) == std::string_view::npos);
        }
        text += stream.Finish();
        REQUIRE(text == (*tokenizer)->Decode({ids.data(), size}, skip));
      }
    }
  }
}

TEST_CASE("ids with and without offsets are the same, and pieces tile byte-level text") {
  std::mt19937 random(13);
  for (const char* kind :
       {"gpt2", "llama3", "llama2", "gemma", "t5", "metaspace", "neox", "qwen2"}) {
    const auto tokenizer = Tokenizer::Load(tests::Fixture(std::string("tokenizers/") + kind));
    REQUIRE(tokenizer.ok());
    for (int round = 0; round < 200; ++round) {
      const std::string text = RandomText(&random, random() % 50);
      const auto ids = (*tokenizer)->EncodeIds(text, {});
      const auto pieces = (*tokenizer)->Encode(text, {});
      REQUIRE(ids.ok());
      REQUIRE(pieces.ok());
      INFO(kind << ": " << nlohmann::json(text).dump());
      REQUIRE(pieces->size() == ids->size());
      for (size_t i = 0; i < ids->size(); ++i) REQUIRE((*pieces)[i].id == (*ids)[i]);
    }
  }
}

}  // namespace
}  // namespace tessera::server
