#include "server/frontend/unknown_fields.h"

#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include "absl/strings/str_cat.h"
#include "proto/rpc/status.h"

namespace tessera::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

absl::Status Check(const Message& message, const std::string& path) {
  const auto* reflection = message.GetReflection();
  const auto& unknown = reflection->GetUnknownFields(message);
  if (unknown.field_count() > 0) {
    std::string number = absl::StrCat(unknown.field(0).number());
    std::string field = absl::StrCat(path, path.empty() ? "" : ".", number);
    absl::Status status = absl::UnimplementedError(absl::StrCat(
        "field number ", number, " of ", std::string(message.GetDescriptor()->full_name()),
        " is not known to this server, which may be older than the client; leave it out"));
    rpc::SetFieldViolation(status, field);
    return status;
  }
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) continue;
    std::string inner = absl::StrCat(path, path.empty() ? "" : ".", field->name());
    int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const Message& part = field->is_repeated() ? reflection->GetRepeatedMessage(message, field, i)
                                                 : reflection->GetMessage(message, field);
      if (absl::Status status = Check(part, inner); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckUnknownFields(const Message& message) { return Check(message, ""); }

}  // namespace tessera::server
