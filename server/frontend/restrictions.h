// What a request forbids or favours: logit_bias, allowed_token_ids and bad_words.
#ifndef TESSERA_SERVER_FRONTEND_RESTRICTIONS_H_
#define TESSERA_SERVER_FRONTEND_RESTRICTIONS_H_

#include "absl/status/status.h"
#include "server/engine/request.h"
#include "server/frontend/served_model.h"
#include "server/text/tokenizer.h"
#include "tessera/v1/inference.pb.h"

namespace tessera::server {

// Biases and allowed ids into `out`, and the bounds of all three. INVALID_ARGUMENT names the field.
absl::Status ResolveRestrictions(const v1::SamplingParams& in, const ServedModel& model,
                                 SamplingParams& out);

// `bad_words` as ids into the request: each as it stands at the start of a text, and behind a space
// (as vLLM does, which leaves out the second where it has another number of ids; here neither is
// written). INVALID_ARGUMENT where a word has no ids, or where nothing that is allowed would be
// left to draw.
absl::Status ResolveBadWords(const v1::SamplingParams& in, const ServedModel& model,
                             const Tokenizer& tokenizer, Request& request);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_RESTRICTIONS_H_
