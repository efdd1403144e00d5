#include "client/cli/context.h"

#include <ostream>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "client/lib/error_details.h"

namespace tessera::client {
namespace {

// Errors are one line each, whatever a server or a file name puts into them.
std::string OneLine(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line;
}

std::string HintFor(const absl::Status& status, const ErrorDetails& details,
                    const std::string& target) {
  if (details.unreachable) {
    return absl::StrCat(
        "start a server with `tessera serve`, or name another one with --target "
        "or TESSERA_TARGET (now ",
        target, ")");
  }
  if (details.retry_after > absl::ZeroDuration()) {
    return absl::StrCat("try again in ", absl::FormatDuration(details.retry_after));
  }
  if (absl::IsUnavailable(status))
    return "`tessera status --wait` returns when the server is ready";
  if (absl::IsNotFound(status)) return "`tessera status` shows what the server serves";
  return "";
}

}  // namespace

bool Context::use_color() const {
  if (color == "auto") return io.out_is_terminal && !io.no_color;
  return color == "always";
}

absl::StatusOr<std::unique_ptr<Client>> Context::Connect() const {
  return Client::Connect({.target = target});
}

int Context::Fail(const absl::Status& status) const {
  return Fail(status, HintFor(status, DetailsOf(status), target));
}

int Context::Fail(const absl::Status& status, const std::string& hint) const {
  const ErrorDetails details = DetailsOf(status);
  std::string message = OneLine(std::string(status.message()));
  if (message.empty()) message = absl::StatusCodeToString(status.code());
  io.err << "tessera: " << message;
  // Many messages name the field themselves.
  if (!details.field.empty() && message.find(details.field) == std::string::npos) {
    io.err << " (field " << OneLine(details.field) << ")";
  }
  io.err << "\n";
  if (!hint.empty()) io.err << "hint: " << hint << "\n";
  io.err.flush();
  return details.unreachable ? kExitUnreachable : kExitFailed;
}

}  // namespace tessera::client
