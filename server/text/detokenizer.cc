#include "server/text/detokenizer.h"

#include "server/text/token_decoder.h"
#include "server/text/tokenizer.h"

namespace tessera::server {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool skip_special)
    : skip_special_(skip_special), stream_(std::make_unique<DecodeStream>(tokenizer.decoder())) {}
Detokenizer::~Detokenizer() = default;
Detokenizer::Detokenizer(Detokenizer&&) noexcept = default;
Detokenizer& Detokenizer::operator=(Detokenizer&&) noexcept = default;

std::string Detokenizer::Append(uint32_t id) {
  std::string out;
  stream_->Push(id, skip_special_, &out);
  return out;
}

std::string Detokenizer::Finish() {
  std::string out;
  stream_->Finish(&out);
  return out;
}

}  // namespace tessera::server
