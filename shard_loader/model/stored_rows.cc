#include "shard_loader/model/stored_rows.h"

#include <string_view>
#include <utility>

#include "shard_loader/model/tensors.h"

namespace tessera::shard_loader {
namespace {

constexpr int64_t kCodegenParts = 4;

// Query, key or value: 0, 1, 2.
int PartOf(TensorRole role) {
  switch (role) {
    case TensorRole::kKey:
    case TensorRole::kKeyBias:
      return 1;
    case TensorRole::kValue:
    case TensorRole::kValueBias:
      return 2;
    default:
      return 0;
  }
}

bool IsUp(TensorRole role) {
  return role == TensorRole::kUp || role == TensorRole::kUpBias || role == TensorRole::kExpertUp ||
         role == TensorRole::kExpertUpBias || role == TensorRole::kSharedUp;
}

int64_t Rows(const DecoderSpec& spec, TensorRole role) { return TensorShape(spec, role)[0]; }

// The rows before the weight's own, and those of the whole tensor.
std::pair<int64_t, int64_t> BlocksOf(const DecoderSpec& spec, TensorRole role) {
  switch (role) {
    case TensorRole::kLatentDown:
    case TensorRole::kKeyRope: {
      const int64_t latent = Rows(spec, TensorRole::kLatentDown);
      const int64_t all = latent + Rows(spec, TensorRole::kKeyRope);
      return {role == TensorRole::kKeyRope ? latent : 0, all};
    }
    case TensorRole::kQuery:
    case TensorRole::kKey:
    case TensorRole::kValue:
    case TensorRole::kQueryBias:
    case TensorRole::kKeyBias:
    case TensorRole::kValueBias: {
      const int64_t sizes[] = {Rows(spec, TensorRole::kQuery), Rows(spec, TensorRole::kKey),
                               Rows(spec, TensorRole::kValue)};
      const int part = PartOf(role);
      return {(part > 0 ? sizes[0] : 0) + (part > 1 ? sizes[1] : 0),
              sizes[0] + sizes[1] + sizes[2]};
    }
    default: {
      const int64_t rows = Rows(spec, role);
      return {IsUp(role) ? rows : 0, 2 * rows};
    }
  }
}

std::vector<RowRun> GroupRuns(const DecoderSpec& spec, TensorRole role) {
  const AttentionSpec& attention = spec.attention;
  const int64_t head = attention.head_size;
  const int64_t queries = attention.num_heads / attention.num_kv_heads * head;
  const int part = PartOf(role);
  const int64_t count = part == 0 ? queries : head;
  const int64_t before = (part > 0 ? queries : 0) + (part > 1 ? head : 0);
  std::vector<RowRun> runs;
  for (int64_t group = 0; group < attention.num_kv_heads; ++group) {
    runs.push_back({group * count, group * (queries + 2 * head) + before, count});
  }
  return runs;
}

std::vector<RowRun> CodegenRuns(const DecoderSpec& spec, TensorRole role) {
  constexpr int64_t kPlace[] = {0, 2, 1};
  const int64_t count = Rows(spec, role) / kCodegenParts;
  std::vector<RowRun> runs;
  for (int64_t part = 0; part < kCodegenParts; ++part) {
    runs.push_back({part * count, (3 * part + kPlace[PartOf(role)]) * count, count});
  }
  return runs;
}

std::vector<RowRun> LatentHeadRuns(const DecoderSpec& spec, TensorRole role) {
  const AttentionSpec& attention = spec.attention;
  const int64_t key = attention.head_size - attention.rotary();
  const bool is_key = role == TensorRole::kKey;
  const int64_t count = is_key ? key : attention.values();
  std::vector<RowRun> runs;
  for (int64_t h = 0; h < attention.num_kv_heads; ++h) {
    runs.push_back({h * count, h * (key + attention.values()) + (is_key ? 0 : key), count});
  }
  return runs;
}

int64_t StoredRows(const DecoderSpec& spec, const NamePattern& pattern) {
  switch (pattern.stored) {
    case StoredAs::kAlone:
      return Rows(spec, pattern.role);
    case StoredAs::kBlocks:
    case StoredAs::kGroups:
    case StoredAs::kCodegen:
      return BlocksOf(spec, pattern.role).second;
    case StoredAs::kPairs:
      return 2 * Rows(spec, pattern.role);
    case StoredAs::kLatentHeads:
      return Rows(spec, TensorRole::kKey) + Rows(spec, TensorRole::kValue);
  }
  return 0;
}

}  // namespace

std::vector<RowRun> RowsInStored(const DecoderSpec& spec, const NamePattern& pattern) {
  const int64_t rows = Rows(spec, pattern.role);
  switch (pattern.stored) {
    case StoredAs::kAlone:
      break;
    case StoredAs::kBlocks:
      return {{0, BlocksOf(spec, pattern.role).first, rows}};
    case StoredAs::kGroups:
      return GroupRuns(spec, pattern.role);
    case StoredAs::kCodegen:
      return CodegenRuns(spec, pattern.role);
    case StoredAs::kPairs:
      return {{0, IsUp(pattern.role) ? 1 : 0, rows, 2}};
    case StoredAs::kLatentHeads:
      return LatentHeadRuns(spec, pattern.role);
  }
  return {{0, 0, rows}};
}

bool HoldsAllExperts(const NamePattern& pattern) {
  return IsExpertRole(pattern.role) &&
         std::string_view(pattern.name).find("{e}") == std::string_view::npos;
}

std::vector<int64_t> StoredShape(const DecoderSpec& spec, const NamePattern& pattern) {
  std::vector<int64_t> shape = TensorShape(spec, pattern.role);
  shape[0] = StoredRows(spec, pattern);
  if (pattern.transposed) std::swap(shape[0], shape[1]);
  if (HoldsAllExperts(pattern)) shape.insert(shape.begin(), spec.moe.num_experts);
  return shape;
}

}  // namespace tessera::shard_loader
