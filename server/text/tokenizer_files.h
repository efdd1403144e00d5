// The files of a checkpoint that hold its tokenizer.
#ifndef TESSERA_SERVER_TEXT_TOKENIZER_FILES_H_
#define TESSERA_SERVER_TEXT_TOKENIZER_FILES_H_

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/text/tokenizer.h"
#include "server/text/vocabulary.h"

namespace tessera::server {

// `name` is the file's, for the message.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view name);

// A whole file; NOT_FOUND where there is none.
absl::StatusOr<std::string> ReadTextFile(const std::filesystem::path& path);

// The names in special_tokens_map.json and tokenizer_config.json of a folder; the latter's count.
absl::StatusOr<SpecialTokens> ReadSpecialTokens(const std::filesystem::path& model_dir);

// See Tokenizer::Load.
absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadTokenizer(
    const std::filesystem::path& model_dir);

// `status` with `context` before its message.
absl::Status Annotate(const absl::Status& status, std::string_view context);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_TOKENIZER_FILES_H_
