// Token ids to text, one at a time.
#ifndef TESSERA_SERVER_TEXT_DETOKENIZER_H_
#define TESSERA_SERVER_TEXT_DETOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>

namespace tessera::server {

class DecodeStream;
class Tokenizer;

// What Append has returned so far, followed by Finish, is the Tokenizer's Decode of the same ids;
// what Append returns never changes with later ids and never ends inside a character. The time of a
// call does not depend on how many came before. Not thread-safe; borrows the tokenizer.
class Detokenizer {
 public:
  Detokenizer(const Tokenizer& tokenizer, bool skip_special);
  ~Detokenizer();
  Detokenizer(Detokenizer&&) noexcept;
  Detokenizer& operator=(Detokenizer&&) noexcept;

  // The text that is certain now and has not been returned yet; often one token's, or empty.
  std::string Append(uint32_t id);
  // The rest; nothing may be appended after it.
  std::string Finish();

 private:
  bool skip_special_;
  std::unique_ptr<DecodeStream> stream_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_DETOKENIZER_H_
