// Everything that an operator may set, as the flags leave it.
#ifndef TESSERA_SERVER_APP_SERVER_OPTIONS_H_
#define TESSERA_SERVER_APP_SERVER_OPTIONS_H_

#include <string>

#include "absl/time/time.h"
#include "server/engine/engine_options.h"
#include "server/executor/group_options.h"
#include "server/frontend/frontend_server.h"

namespace tessera::server {

struct ServerOptions {
  std::string model_dir;
  std::string model_name;  // empty: the folder's
  std::string format;      // of the checkpoint; empty: what the folder holds
  std::string chat_template_file;
  std::string secret_file;
  absl::Duration drain_timeout = absl::Seconds(30);
  std::string log_level = "info";
  std::string log_format = "text";
  std::string speculate = "auto";  // auto (draft where draft_dir is given), off, ngram, draft
  std::string draft_dir;
  int dp = 1;  // replicas of the group
  GroupOptions group;
  EngineOptions engine;
  FrontendOptions frontend;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_APP_SERVER_OPTIONS_H_
