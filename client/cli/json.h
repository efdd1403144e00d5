// What --json prints.
#ifndef TESSERA_CLIENT_CLI_JSON_H_
#define TESSERA_CLIENT_CLI_JSON_H_

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "client/lib/collect.h"
#include "client/lib/response.h"
#include "client/lib/server_status.h"

namespace tessera::client {

using Json = nlohmann::ordered_json;

Json ToJson(const Completion& completion);
Json ToJson(const TokenLogprobs& token);
Json ToJson(const std::vector<TokenPiece>& pieces);
Json ToJson(const ServerStatus& status);

// Two spaces of indentation, or one line; bytes that are not UTF-8 become U+FFFD.
std::string Pretty(const Json& json);
std::string Compact(const Json& json);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_JSON_H_
