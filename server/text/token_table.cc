#include "server/text/token_table.h"

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {

absl::StatusOr<TokenTable> TokenTable::FromObject(const nlohmann::json& vocab) {
  if (!vocab.is_object()) {
    return absl::InvalidArgumentError("the vocabulary must be an object that maps tokens to ids");
  }
  TokenTable table;
  table.ids_.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > kMaxTokenId) {
      return absl::InvalidArgumentError(absl::StrCat("the token '", token, "' has the id ",
                                                     id.dump(), "; expected 0 to ", kMaxTokenId));
    }
    RETURN_IF_ERROR(table.Add(token, id.get<uint32_t>()));
  }
  return table;
}

absl::Status TokenTable::Add(std::string_view token, uint32_t id) {
  if (id > kMaxTokenId) {
    return absl::InvalidArgumentError(
        absl::StrCat("a token has the id ", id, ", above ", kMaxTokenId));
  }
  ids_[absl::string_view(token.data(), token.size())] = id;
  if (id >= texts_.size()) {
    texts_.resize(id + 1);
    present_.resize(id + 1);
  }
  ++count_;
  texts_[id] = std::string(token);
  present_[id] = true;
  return absl::OkStatus();
}

}  // namespace tessera::server
