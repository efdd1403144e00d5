// The parts of a checkpoint that the server itself needs.
#ifndef TESSERA_SERVER_APP_LOAD_MODEL_H_
#define TESSERA_SERVER_APP_LOAD_MODEL_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/app/server_options.h"
#include "server/frontend/served_model.h"
#include "server/text/chat_template.h"
#include "server/text/tokenizer.h"
#include "shard_loader/load/checkpoint.h"

namespace tessera::server {

struct LoadedModel {
  std::unique_ptr<const shard_loader::Checkpoint> checkpoint;
  std::unique_ptr<const shard_loader::Checkpoint> draft;  // null: no draft model
  std::unique_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<const ChatTemplate> chat_template;  // null: the model has none
  ServedModel served;
};

// Reads configuration, headers, tokenizer and template; no weights. Errors say what is wrong with
// which file.
absl::StatusOr<LoadedModel> LoadModel(const ServerOptions& options);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_APP_LOAD_MODEL_H_
