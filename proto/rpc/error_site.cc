#include "proto/rpc/error_site.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace tessera::rpc {
namespace {

constexpr char kTypeUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";

}  // namespace

void SetErrorSite(absl::Status& status, const ErrorSite& site) {
  if (status.ok()) return;
  google::rpc::ErrorInfo info;
  info.set_reason("RANK_FAILED");
  info.set_domain("tessera");
  auto& metadata = *info.mutable_metadata();
  if (site.rank) metadata["rank"] = absl::StrCat(*site.rank);
  if (!site.file.empty()) metadata["file"] = site.file;
  if (site.line > 0) metadata["line"] = absl::StrCat(site.line);
  status.SetPayload(kTypeUrl, absl::Cord(info.SerializeAsString()));
}

ErrorSite GetErrorSite(const absl::Status& status) {
  ErrorSite site;
  google::rpc::ErrorInfo info;
  auto payload = status.GetPayload(kTypeUrl);
  if (!payload || !info.ParseFromString(std::string(*payload))) return site;
  const auto& metadata = info.metadata();
  uint32_t rank = 0;
  if (auto it = metadata.find("rank");
      it != metadata.end() && absl::SimpleAtoi(it->second, &rank)) {
    site.rank = rank;
  }
  if (auto it = metadata.find("file"); it != metadata.end()) site.file = it->second;
  if (auto it = metadata.find("line"); it != metadata.end()) {
    if (!absl::SimpleAtoi(it->second, &site.line)) site.line = 0;
  }
  return site;
}

}  // namespace tessera::rpc
