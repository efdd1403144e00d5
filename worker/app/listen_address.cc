#include "worker/app/listen_address.h"

#include <sys/un.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace tessera::worker {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr int kMaxPort = 65535;

absl::Status Invalid(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("--listen ", std::string(text), ": ", std::string(why),
                   "; give unix:/absolute/path or host:port, e.g. 127.0.0.1:9000"));
}

}  // namespace

std::string ListenAddress::ToString() const {
  if (!is_tcp()) return absl::StrCat(std::string(kUnix), socket_path);
  return absl::StrCat(host, ":", port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text,
                                                 std::optional<int> mpi_rank) {
  ListenAddress address;
  if (text.starts_with(kUnix)) {
    address.socket_path = std::string(text.substr(kUnix.size()));
    if (mpi_rank) {
      absl::StrReplaceAll({{"%r", absl::StrCat(*mpi_rank)}}, &address.socket_path);
    }
    if (!address.socket_path.starts_with('/')) return Invalid(text, "the path is not absolute");
    if (address.socket_path.size() > kMaxSocketPath) {
      return Invalid(text, absl::StrCat("a path of ", address.socket_path.size(),
                                        " bytes is beyond the system's ", kMaxSocketPath));
    }
    return address;
  }
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0)
    return Invalid(text, "host or port is missing");
  address.host = std::string(text.substr(0, colon));
  if (address.host.find(':') != std::string::npos && !address.host.starts_with('[')) {
    return Invalid(text, "an IPv6 address needs brackets");
  }
  if (!absl::SimpleAtoi(std::string(text.substr(colon + 1)), &address.port) || address.port < 0) {
    return Invalid(text, "the port is not a number");
  }
  if (mpi_rank && address.port != 0) address.port += *mpi_rank;
  if (address.port > kMaxPort)
    return Invalid(text, absl::StrCat("there is no port ", address.port));
  return address;
}

}  // namespace tessera::worker
