// Tokenizers that do not come from tokenizer.json.
#include <catch2/catch.hpp>

#include <algorithm>
#include <fstream>
#include <random>

#include "absl/strings/escaping.h"
#include "server/text/byte_level.h"
#include "server/text/tokenizer.h"
#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

using Ids = std::vector<uint32_t>;
using tests::Fixture;
using tests::ReadJson;

// The tokens of a tokenizer.json's BPE model by id, and its merges.
Vocabulary ReadVocabulary(const std::string& kind) {
  const nlohmann::json spec = ReadJson(Fixture("tokenizers/" + kind + "/tokenizer.json"));
  Vocabulary vocabulary;
  for (const auto& [token, id] : spec["model"]["vocab"].items()) {
    if (id.get<size_t>() >= vocabulary.tokens.size())
      vocabulary.tokens.resize(id.get<size_t>() + 1);
    vocabulary.tokens[id.get<size_t>()] = token;
  }
  for (const auto& merge : spec["model"]["merges"]) {
    vocabulary.merges.push_back(merge.is_string() ? merge.get<std::string>()
                                                  : merge[0].get<std::string>() + " " +
                                                        merge[1].get<std::string>());
  }
  vocabulary.kinds.resize(vocabulary.tokens.size());
  for (const auto& token : spec["added_tokens"]) {
    const size_t id = token["id"];
    if (id >= vocabulary.tokens.size()) {
      vocabulary.tokens.resize(id + 1);
      vocabulary.kinds.resize(id + 1);
    }
    vocabulary.tokens[id] = token["content"];
    vocabulary.kinds[id] =
        token["special"] ? Vocabulary::Kind::kControl : Vocabulary::Kind::kUserDefined;
  }
  return vocabulary;
}

void CheckAgainst(const Tokenizer& tokenizer, const std::string& kind) {
  const nlohmann::json golden = ReadJson(Fixture("tokenizers/" + kind + "/golden.json"));
  for (const auto& item : golden["cases"]) {
    INFO(kind << ": " << item["text"].dump());
    const auto ids =
        tokenizer.EncodeIds(item["text"].get<std::string>(), {.add_special_tokens = false});
    REQUIRE(ids.ok());
    CHECK(*ids == item["ids_no_special"].get<Ids>());
    CHECK(tokenizer.Decode(*ids, false) ==
          tokenizer.Decode(item["ids_no_special"].get<Ids>(), false));
  }
}

TEST_CASE("a byte-level vocabulary handed over tokenizes like its tokenizer.json") {
  Vocabulary vocabulary = ReadVocabulary("llama3");
  vocabulary.pre_tokenizer = "llama-bpe";
  vocabulary.bos_id = 1492;
  vocabulary.add_bos = true;
  const auto tokenizer = Tokenizer::FromVocabulary(vocabulary);
  INFO(tokenizer.status());
  REQUIRE(tokenizer.ok());
  CheckAgainst(**tokenizer, "llama3");
  CHECK((*tokenizer)->EncodeIds("", {}).value() == Ids{1492});
  CHECK((*tokenizer)->bos_id() == 1492u);
}

TEST_CASE("a SentencePiece vocabulary handed over with scores tokenizes like its tokenizer.json") {
  Vocabulary vocabulary = ReadVocabulary("llama2");
  vocabulary.model = Vocabulary::Model::kSentencePieceBpe;
  // Scores as SentencePiece gives them to a BPE: the earlier a merge, the higher.
  vocabulary.scores.assign(vocabulary.tokens.size(), 0);
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const bool byte = ByteFallbackValue(vocabulary.tokens[id]) >= 0;
    if (byte) vocabulary.kinds[id] = Vocabulary::Kind::kByte;
    vocabulary.scores[id] = -static_cast<float>(id);
  }
  vocabulary.unk_id = 0;
  vocabulary.kinds[0] = Vocabulary::Kind::kUnknown;
  const auto tokenizer = Tokenizer::FromVocabulary(vocabulary);
  INFO(tokenizer.status());
  REQUIRE(tokenizer.ok());
  CheckAgainst(**tokenizer, "llama2");
}

TEST_CASE("tiktoken ranks tokenize like the same vocabulary with merges") {
  // In gpt2's vocabulary ids ascend with the merges, so that they are ranks.
  const Vocabulary vocabulary = ReadVocabulary("llama3");
  const tests::TempDir folder;
  {
    std::ofstream file(folder.path() / "tokenizer.model");
    for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
      if (vocabulary.kinds[id] != Vocabulary::Kind::kNormal) continue;
      const auto bytes = BytesOfPrintable(vocabulary.tokens[id]);
      REQUIRE(bytes.has_value());
      file << absl::Base64Escape(*bytes) << ' ' << id << '\n';
    }
  }
  const auto tokenizer = Tokenizer::Load(folder.path());
  INFO(tokenizer.status());
  REQUIRE(tokenizer.ok());
  const auto reference = Tokenizer::Load(Fixture("tokenizers/llama3"));
  REQUIRE(reference.ok());
  for (const char* text :
       {"The quick brown fox", "  it's 12345\n\n x", "\xE4\xB8\xAD\xE6\x96\x87 text", ""}) {
    const EncodeOptions plain{.add_special_tokens = false, .parse_special = false};
    CHECK((*tokenizer)->EncodeIds(text, plain).value() ==
          (*reference)->EncodeIds(text, plain).value());
  }
  CHECK((*tokenizer)->TokenText(*(*tokenizer)->bos_id()) == "<|begin_of_text|>");
  CHECK((*tokenizer)->IsSpecial(*(*tokenizer)->eos_id()));
}

TEST_CASE("malformed vocabularies and files are refused") {
  Vocabulary vocabulary = ReadVocabulary("gpt2");
  vocabulary.pre_tokenizer = "unheard-of";
  CHECK(absl::IsUnimplemented(Tokenizer::FromVocabulary(vocabulary).status()));
  vocabulary.pre_tokenizer = "gpt-2";
  vocabulary.merges.push_back("nospace");
  CHECK(absl::IsInvalidArgument(Tokenizer::FromVocabulary(vocabulary).status()));
  CHECK(absl::IsInvalidArgument(Tokenizer::FromVocabulary({}).status()));

  const tests::TempDir folder;
  CHECK(absl::IsNotFound(Tokenizer::Load(folder.path()).status()));
  std::ofstream(folder.path() / "tokenizer.model") << "this is no model";
  CHECK(absl::IsInvalidArgument(Tokenizer::Load(folder.path()).status()));
  std::ofstream(folder.path() / "tokenizer.model") << "IQ== 0\nIg== x\n";
  CHECK(absl::IsInvalidArgument(Tokenizer::Load(folder.path()).status()));
}

}  // namespace
}  // namespace tessera::server
