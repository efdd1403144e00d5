// Reads JSON lines {"tokenizer": FILE, "texts": [...], "ids": [[...]...]} from standard input and
// answers each with what the tokenizer makes of them:
// {"encoded": [{"ids", "offsets"}...], "decoded": [[kept, skipped]...]} or {"error": "..."}.
#include <fstream>
#include <iostream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "server/text/detokenizer.h"
#include "server/text/tokenizer.h"

namespace {

using tessera::server::Detokenizer;
using tessera::server::Tokenizer;

nlohmann::json Encode(const Tokenizer& tokenizer, const std::string& text) {
  const auto pieces = tokenizer.Encode(text, {});
  if (!pieces.ok()) return {{"error", std::string(pieces.status().message())}};
  nlohmann::json ids = nlohmann::json::array(), offsets = nlohmann::json::array();
  for (const auto& piece : *pieces) {
    ids.push_back(piece.id);
    offsets.push_back({piece.begin, piece.end});
  }
  return {{"ids", ids}, {"offsets", offsets}};
}

nlohmann::json Decode(const Tokenizer& tokenizer, const std::vector<uint32_t>& ids) {
  Detokenizer stream(tokenizer, false);
  std::string streamed;
  for (uint32_t id : ids) streamed += stream.Append(id);
  streamed += stream.Finish();
  return {tokenizer.Decode(ids, false), tokenizer.Decode(ids, true), streamed};
}

nlohmann::json Answer(const nlohmann::json& task) {
  std::ifstream file(task.value("tokenizer", ""), std::ios::binary);
  const std::string json((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto tokenizer = Tokenizer::FromJson(json);
  if (!tokenizer.ok()) return {{"error", std::string(tokenizer.status().message())}};
  nlohmann::json encoded = nlohmann::json::array(), decoded = nlohmann::json::array();
  for (const auto& text : task.at("texts")) encoded.push_back(Encode(**tokenizer, text));
  for (const auto& ids : task.at("ids")) decoded.push_back(Decode(**tokenizer, ids));
  return {{"encoded", encoded}, {"decoded", decoded}};
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Answer(nlohmann::json::parse(line)).dump() << std::endl;
  }
}
