// Whether a request can be served, and what it asks for with every default filled in. Pure: no
// tokenizer, no engine, no clock.
#ifndef TESSERA_SERVER_FRONTEND_CHECK_REQUEST_H_
#define TESSERA_SERVER_FRONTEND_CHECK_REQUEST_H_

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/engine/request.h"
#include "server/frontend/served_model.h"
#include "tessera/v1/inference.pb.h"

namespace tessera::server {

// Everything but prompt, bad words, id, seed where none is given, and deadline, which the caller
// sets. Ranges follow vLLM's SamplingParams; defaults are its own, overridden by the model's.
// INVALID_ARGUMENT, NOT_FOUND (another model), or UNIMPLEMENTED for a field whose feature is not
// there; each names its field in the details.
absl::StatusOr<Request> CheckParameters(const v1::GenerateRequest& request,
                                        const ServedModel& model);
absl::StatusOr<Request> CheckParameters(const v1::ChatRequest& request, const ServedModel& model);

absl::Status CheckModelName(std::string_view name, const ServedModel& model);

// A text, before it is tokenized: its size, and that it is UTF-8.
absl::Status CheckText(std::string_view field, std::string_view text, const ServedModel& model);

// Ids of a request, before anything is made of them: their number and their range.
absl::Status CheckTokenIds(std::string_view field, absl::Span<const uint32_t> ids,
                           const ServedModel& model);

// A request with its prompt: that it fits the context. Sets max_tokens where the model has a
// default.
absl::Status FitLength(Request& request, const ServedModel& model);

// INVALID_ARGUMENT with the field in the details.
absl::Status FieldError(std::string_view field, std::string_view message);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_CHECK_REQUEST_H_
