// Between the plain structs and the generated protobuf types. Internal to client/lib.
#ifndef TESSERA_CLIENT_LIB_CONVERT_H_
#define TESSERA_CLIENT_LIB_CONVERT_H_

#include "client/lib/request.h"
#include "client/lib/response.h"
#include "client/lib/server_status.h"
#include "tessera/v1/admin.pb.h"
#include "tessera/v1/inference.pb.h"

namespace tessera::client {

v1::GenerateRequest ToProto(const GenerateOptions& options);
v1::ChatRequest ToProto(const ChatOptions& options);
v1::ApplyChatTemplateRequest ToProto(const Conversation& conversation, const std::string& model);

GenerateEvent FromProto(const v1::GenerateResponse& response);
TokenPiece FromProto(const v1::TokenizeResponse::Piece& piece);
ModelInfo FromProto(const v1::Model& model);
ServerStatus FromProto(const v1::ServerStatus& status);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_CONVERT_H_
