#include "server/executor/worker_addresses.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <array>
#include <memory>
#include <set>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tessera::server {
namespace {

constexpr std::string_view kDns = "dns:";
constexpr std::string_view kUnix = "unix:";

absl::Status Invalid(const std::string& entry) {
  return absl::InvalidArgumentError(
      absl::StrCat("--workers: '", entry,
                   "' is no worker; give host:port,host:port... with one for "
                   "every rank, or one dns:NAME:PORT"));
}

absl::Status CheckAddress(const std::string& entry) {
  if (entry.starts_with(std::string(kUnix) + "/")) return absl::OkStatus();
  size_t colon = entry.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(entry.substr(colon + 1), &port) || port <= 0 || port > 65535) {
    return Invalid(entry);
  }
  return absl::OkStatus();
}

std::string FormatAddress(const addrinfo& info) {
  std::array<char, INET6_ADDRSTRLEN> text = {};
  if (info.ai_family == AF_INET) {
    auto* address = reinterpret_cast<const sockaddr_in*>(info.ai_addr);
    return inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size());
  }
  auto* address = reinterpret_cast<const sockaddr_in6*>(info.ai_addr);
  return absl::StrCat("[", inet_ntop(AF_INET6, &address->sin6_addr, text.data(), text.size()), "]");
}

absl::StatusOr<std::vector<std::string>> LookUp(const std::string& entry, int num_ranks) {
  size_t colon = entry.rfind(':');
  if (colon < kDns.size()) return Invalid(entry);
  std::string name = entry.substr(kDns.size(), colon - kDns.size());
  std::string port = entry.substr(colon + 1);
  int number = 0;
  if (name.empty() || !absl::SimpleAtoi(port, &number) || number <= 0 || number > 65535) {
    return Invalid(entry);
  }
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (int error = getaddrinfo(name.c_str(), nullptr, &hints, &found); error != 0) {
    return absl::UnavailableError(absl::StrCat("--workers: ", name, ": ", gai_strerror(error)));
  }
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  std::set<std::string> addresses;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    if (info->ai_family != AF_INET && info->ai_family != AF_INET6) continue;
    addresses.insert(absl::StrCat(FormatAddress(*info), ":", port));
  }
  if (static_cast<int>(addresses.size()) != num_ranks) {
    return absl::UnavailableError(absl::StrCat("--workers: ", name, " has ", addresses.size(),
                                               " addresses, the group has ", num_ranks, " ranks"));
  }
  return std::vector<std::string>(addresses.begin(), addresses.end());
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ResolveWorkers(const std::vector<std::string>& workers,
                                                        int num_ranks) {
  if (workers.size() == 1 && workers[0].starts_with(kDns)) return LookUp(workers[0], num_ranks);
  if (static_cast<int>(workers.size()) != num_ranks) {
    return absl::InvalidArgumentError(
        absl::StrCat("--workers names ", workers.size(), " workers, but tp x pp is ", num_ranks));
  }
  for (const std::string& entry : workers) {
    if (absl::Status status = CheckAddress(entry); !status.ok()) return status;
  }
  return workers;
}

absl::StatusOr<std::vector<std::vector<std::string>>> WorkersOfGroups(
    const std::vector<std::string>& workers, int replicas, int num_ranks) {
  std::vector<std::vector<std::string>> groups(replicas);
  if (replicas == 1) groups[0] = workers;
  if (replicas == 1 || workers.empty()) return groups;
  const bool names = workers[0].starts_with(kDns);
  const size_t each = names ? 1 : num_ranks;
  if (workers.size() != replicas * each) {
    return absl::InvalidArgumentError(
        absl::StrCat("--workers names ", workers.size(), " workers, but dp x tp x pp is ",
                     replicas * num_ranks, "; give them all, replica by replica, or one ",
                     "dns:NAME:PORT for each of the ", replicas, " replicas"));
  }
  for (size_t i = 0; i < workers.size(); ++i) groups[i / each].push_back(workers[i]);
  return groups;
}

}  // namespace tessera::server
