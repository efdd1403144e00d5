// A vocabulary: tokens to ids and back.
#ifndef TESSERA_SERVER_TEXT_TOKEN_TABLE_H_
#define TESSERA_SERVER_TEXT_TOKEN_TABLE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::server {

// The highest id that a vocabulary may use; far above any model's, far below what would exhaust
// memory.
inline constexpr uint32_t kMaxTokenId = 16'777'215;

// Thread-compatible; immutable once filled.
class TokenTable {
 public:
  // {"token": id, ...}. INVALID_ARGUMENT where it is not that, or an id is negative or too large.
  static absl::StatusOr<TokenTable> FromObject(const nlohmann::json& vocab);

  // A token that is there already keeps its first spelling and gets the new id. INVALID_ARGUMENT
  // where the id is above kMaxTokenId.
  absl::Status Add(std::string_view token, uint32_t id);

  std::optional<uint32_t> Find(std::string_view token) const {
    const auto it = ids_.find(absl::string_view(token.data(), token.size()));
    if (it == ids_.end()) return std::nullopt;
    return it->second;
  }
  // nullptr where no token has the id.
  const std::string* Text(uint32_t id) const {
    return id < texts_.size() && present_[id] ? &texts_[id] : nullptr;
  }
  // One past the highest id.
  uint32_t size() const { return static_cast<uint32_t>(texts_.size()); }
  // The number of entries, equal tokens counted as often as they came.
  size_t count() const { return count_; }

 private:
  absl::flat_hash_map<std::string, uint32_t> ids_;
  std::vector<std::string> texts_;
  std::vector<bool> present_;
  size_t count_ = 0;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_TOKEN_TABLE_H_
