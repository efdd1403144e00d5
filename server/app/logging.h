// The log on standard error.
#ifndef TESSERA_SERVER_APP_LOGGING_H_
#define TESSERA_SERVER_APP_LOGGING_H_

#include <string>

namespace tessera::server {

// `level`: debug, info, warning, error. `format`: text, or json: one object a line with the keys
// time, level and message.
void SetUpLogging(const std::string& level, const std::string& format);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_APP_LOGGING_H_
