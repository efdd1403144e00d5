#include "worker/runner/error_site.h"

#include <string_view>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tessera::worker {
namespace {

constexpr char kTypeUrl[] = "tessera.worker/error_site";

// Compilers name files as they were called.
std::string_view FromTheTop(std::string_view file) {
  size_t top = file.rfind("/worker/");
  return top == std::string_view::npos ? file : file.substr(top + 1);
}

}  // namespace

absl::Status At(absl::Status status, std::source_location site) {
  if (status.ok() || status.GetPayload(kTypeUrl)) return status;
  status.SetPayload(kTypeUrl, absl::Cord(absl::StrCat(std::string(FromTheTop(site.file_name())),
                                                      ":", site.line())));
  return status;
}

ErrorSite SiteOf(const absl::Status& status) {
  auto payload = status.GetPayload(kTypeUrl);
  if (!payload) return {};
  std::string text(*payload);
  size_t colon = text.rfind(':');
  ErrorSite site{.file = text.substr(0, colon)};
  if (!absl::SimpleAtoi(text.substr(colon + 1), &site.line)) site.line = 0;
  return site;
}

}  // namespace tessera::worker
