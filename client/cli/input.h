// Text and numbers that a command takes from its arguments or its standard input.
#ifndef TESSERA_CLIENT_CLI_INPUT_H_
#define TESSERA_CLIENT_CLI_INPUT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/context.h"

namespace tessera::client {

// `argument`; where it is absent or "-", all of standard input but one newline at its end.
std::string TextOrStdin(const std::optional<std::string>& argument, const Io& io);

// "1,2 3" becomes {1, 2, 3}; brackets around them are fine. INVALID_ARGUMENT names what is no id.
absl::StatusOr<std::vector<uint32_t>> ParseTokenIds(std::string_view text);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_INPUT_H_
