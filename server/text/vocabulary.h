// A vocabulary handed over as data, for containers that carry their tokenizer inside (GGUF).
#ifndef TESSERA_SERVER_TEXT_VOCABULARY_H_
#define TESSERA_SERVER_TEXT_VOCABULARY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tessera::server {

// The names that tokenizer_config.json and special_tokens_map.json give to tokens; empty: no such
// token. Chat templates see them as bos_token, eos_token and so on.
struct SpecialTokens {
  std::string bos_token, eos_token, unk_token, pad_token, sep_token, cls_token, mask_token;
  std::vector<std::string> additional;
};

struct Vocabulary {
  enum class Model { kByteLevelBpe, kSentencePieceBpe, kUnigram, kWordPiece };
  enum class Kind : uint8_t { kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };

  Model model = Model::kByteLevelBpe;
  std::vector<std::string> tokens;  // by id; byte-level ones in GPT-2's printable form
  std::vector<float> scores;        // SentencePiece kinds; same length as tokens
  std::vector<Kind> kinds;          // same length as tokens, or empty (all normal)
  std::vector<std::string> merges;  // "left right", byte-level BPE, best first
  // Byte-level BPE: the name of a known pre-tokenizer as GGUF writes it ("gpt-2", "llama-bpe",
  // "qwen2", "deepseek-llm", ...; empty or "default": GPT-2's).
  std::string pre_tokenizer;
  std::optional<uint32_t> bos_id, eos_id, unk_id, pad_id;
  bool add_bos = false, add_eos = false;
  bool add_space_prefix = true;  // SentencePiece kinds
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_VOCABULARY_H_
