// Fields that this server does not know.
#ifndef TESSERA_SERVER_FRONTEND_UNKNOWN_FIELDS_H_
#define TESSERA_SERVER_FRONTEND_UNKNOWN_FIELDS_H_

#include "absl/status/status.h"

namespace google::protobuf {
class Message;
}

namespace tessera::server {

// UNIMPLEMENTED, naming the place and the number of a field that a newer client has set: what it
// asks for would be ignored otherwise. Looks into nested messages.
absl::Status CheckUnknownFields(const google::protobuf::Message& message);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_UNKNOWN_FIELDS_H_
