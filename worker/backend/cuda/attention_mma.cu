// Attention over a paged cache of 16 bits by mma.sync.m16n8k16, for one token of a sequence or
// many.
//
// Order: a tile of 256 keys from position 0 is reduced alone. A score has one fp32 accumulator, the
// instruction adds 16 elements of the head at a time, queries narrowed to the cache's dtype. The
// tile's maximum is exact; its weights are added by 16 accumulators, key i in number i % 16, folded
// by halves; a value's element has one accumulator, to which the instruction adds 16 keys at a
// time, ascending, weights narrowed to the cache's dtype. Tiles are merged ascending. Keys that a
// row does not see have the weight 0 by selection, and their values are cleared where they lie.
// A cache in int8 goes as bf16, which holds its integers exactly: a score's sum is multiplied by
// the key's scale first, and a weight by the value's before it is narrowed.
//
// Idea: 16 kQueries rows of the left operand are (row, head) pairs that share a KV head: the heads
// of a group for one token, or for several of one sequence. A block keeps their scores over a tile
// in shared memory, and streams keys and values through it 64 at a time. How many queries a block
// holds, and whether one block walks over all tiles or each has some, changes no operation.
// Bottleneck: for one token the bandwidth of the cache, for many the tensor cores. Measure with
// tests/bench/cuda.
#include <cuda_runtime.h>

#include <type_traits>

#include "shard_loader/plan/workspace.h"
#include "worker/backend/cuda/attention.cuh"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/math.cuh"

namespace tessera::worker::cuda {
namespace {

using shard_loader::kKvBlockTokens;

constexpr int kChunkKeys = 64;  // keys in shared memory at a time
constexpr int kChunkBlocks = kChunkKeys / kKvBlockTokens;
constexpr int kChunks = kAttentionTile / kChunkKeys;
constexpr int kKeyStride = kKvBlockTokens + 8;  // elements from one row of a key block to the next
constexpr int kScoreStride = kAttentionTile + 4;  // floats from one query's scores to the next
constexpr int kMaxMmaHeadSize = 256;
constexpr int kMaxWords = 8;  // instructions of a warp along the values, of 8 elements each

// Shared memory of a block, in this order.
struct Layout {
  int64_t head_size;
  int64_t value_size;  // a multiple of 16
  int queries;

  __host__ __device__ int64_t QueryStride() const { return head_size + 8; }
  __host__ __device__ int64_t ValueStride() const { return value_size + 8; }
  __host__ __device__ int64_t ScoreBytes() const { return queries * kScoreStride * 4; }
  __host__ __device__ int64_t StateBytes() const { return queries * 4 * 4; }
  __host__ __device__ int64_t QueryBytes() const { return queries * QueryStride() * 2; }
  __host__ __device__ int64_t ChunkBytes() const {
    const int64_t keys = kChunkBlocks * head_size * kKeyStride;
    const int64_t values = kChunkKeys * ValueStride();
    return (keys > values ? keys : values) * 2;
  }
  __host__ __device__ int64_t Bytes() const {
    return ScoreBytes() + StateBytes() + QueryBytes() + 2 * ChunkBytes();
  }
};

// Of every query: where it stands among the tiles.
struct States {
  float* maximum;
  float* sum;
  float* keep;
  float* take;
};

// What a block works on: rows of one sequence, and the heads of a KV head.
struct Task {
  RowGroup group;
  int64_t kv_head;
  int first_head;
  int num_heads;
};

struct Query {
  int64_t row = -1;  // of the batch; -1: none
  int64_t head = 0;
  int64_t position = -1;
};

__device__ __forceinline__ Query QueryOf(const DeviceRows& rows, const Task& task, int index) {
  Query query;
  const int token = index / task.num_heads;
  if (token >= task.group.count) return query;
  query.row = task.group.first + token;
  query.head = task.first_head + index % task.num_heads;
  query.position = rows.positions[query.row];
  if (query.position < 0) query.row = -1;
  return query;
}

// Where a KV head's part of a block begins, and, in int8, the scales behind it.
struct HeadPart {
  const std::byte* data = nullptr;
  int64_t elements = 0;

  __device__ HeadPart(const KvLayer& cache, uint32_t block, int64_t kv_head) {
    elements = (cache.head_size + cache.value_size) * kKvBlockTokens;
    const int64_t bytes = cache.int8 ? elements + 2 * kKvBlockTokens * 4 : elements * 2;
    data = cache.data + (block * cache.num_kv_heads + kv_head) * bytes;
  }
  __device__ float KeyScale(int64_t key) const {
    return reinterpret_cast<const float*>(data + elements)[key % kKvBlockTokens];
  }
  __device__ float ValueScale(int64_t key) const {
    return reinterpret_cast<const float*>(data + elements)[kKvBlockTokens + key % kKvBlockTokens];
  }
};

// 8 integers, or zeros, as bf16.
__device__ __forceinline__ void WidenPiece(const std::byte* from, bool there, uint16_t* to) {
  uint2 codes = {0, 0};
  if (there) codes = *reinterpret_cast<const uint2*>(from);
  auto* const words = reinterpret_cast<uint32_t*>(to);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32_t pair = (i < 2 ? codes.x : codes.y) >> i % 2 * 16;
    words[i] = NarrowPair<BF16>(Int8::Widen(static_cast<int8_t>(pair & 0xff)),
                                Int8::Widen(static_cast<int8_t>(pair >> 8 & 0xff)));
  }
}

// Copies the keys (or values) of chunk `chunk` of a tile; blocks that no row sees are left out as
// zeros.
template <bool kKeys, bool kInt8>
__device__ void StartChunk(const KvLayer& cache, const uint32_t* blocks, int64_t kv_head,
                           int64_t first_key, int64_t end_key, const Layout& layout,
                           uint16_t* chunk) {
  const int per_block = static_cast<int>((kKeys ? cache.head_size : layout.value_size) * 2);
  const int64_t front = kKeys ? 0 : cache.head_size * kKvBlockTokens;
  for (int i = Thread(); i < kChunkBlocks * per_block; i += blockDim.x) {
    const int block = i / per_block;
    const int piece = i % per_block;  // of 8 elements
    const int64_t key = first_key + block * kKvBlockTokens;
    const bool there = key < end_key;
    const std::byte* from = cache.data;
    if (there) {
      const HeadPart part(cache, blocks[key / kKvBlockTokens], kv_head);
      from = part.data + (front + piece * 8) * (kInt8 ? 1 : 2);
    }
    uint16_t* to;
    if (kKeys) {
      to = chunk + (block * cache.head_size + piece / 2) * kKeyStride + piece % 2 * 8;
    } else {
      const int row_pieces = static_cast<int>(layout.value_size / 8);
      to = chunk + (block * kKvBlockTokens + piece / row_pieces) * layout.ValueStride() +
           piece % row_pieces * 8;
    }
    if constexpr (kInt8) {
      WidenPiece(from, there, to);
    } else {
      CopyAsync(to, from, there);
    }
  }
  CommitCopies();
}

// The left operand of 16 queries (or weights) and 16 columns, out of rows of 16 bits.
__device__ __forceinline__ void LoadLeft(const uint16_t* rows, int64_t stride, int64_t column,
                                         uint32_t (&a)[4]) {
  const int lane = Thread() % 32;
  const int matrix = lane / 8;
  LoadMatrices(a, rows + (matrix % 2 * 8 + lane % 8) * stride + column + matrix / 2 * 8);
}

// The left operand out of weights in fp32.
template <typename Type>
__device__ __forceinline__ void NarrowLeft(const float* rows, int column, uint32_t (&a)[4]) {
  const int g = Thread() % 32 / 4;
  const int t = Thread() % 4;
  for (int i = 0; i < 4; ++i) {
    const float* pair = rows + (g + i % 2 * 8) * kScoreStride + column + 2 * t + i / 2 * 8;
    a[i] = NarrowPair<Type>(pair[0], pair[1]);
  }
}

// Scores of 16 queries and 16 keys of a block: scaled products. key_scale(i): of key i, in int8.
template <typename Type, bool kInt8, typename KeyScale>
__device__ void ScoreBlock(const uint16_t* queries, const uint16_t* keys, const Layout& layout,
                           float scale, const KeyScale& key_scale, float* scores) {
  const int lane = Thread() % 32;
  float sums[2][4] = {};
  for (int64_t i = 0; i < layout.head_size; i += 16) {
    uint32_t a[4], b[4];
    LoadLeft(queries, layout.QueryStride(), i, a);
    // Matrices: elements 0-7 and 8-15 of keys 0-7, then of keys 8-15.
    LoadTransposed(b, keys + (i + lane / 8 % 2 * 8 + lane % 8) * kKeyStride + lane / 16 * 8);
    Type::Mma(sums[0], a, b[0], b[1]);
    Type::Mma(sums[1], a, b[2], b[3]);
  }
  const int g = lane / 4;
  const int t = lane % 4;
  for (int n = 0; n < 2; ++n) {
    for (int i = 0; i < 4; ++i) {
      const int key = n * 8 + 2 * t + i % 2;
      float sum = sums[n][i];
      if constexpr (kInt8) sum = sum * key_scale(key);
      scores[(g + i / 2 * 8) * kScoreStride + key] = sum * scale;
    }
  }
}

// A warp turns the scores of one query into weights, and brings its state up to the tile. The state
// of a query that sees none of the tile stays: keep is 1, take is 0 with a flag below 0.
// value_scale(key): of a key that is seen, in int8.
template <bool kInt8, typename ValueScale>
__device__ void WeighQuery(const AttentionArgs& args, const Query& query, int64_t tile,
                           const ValueScale& value_scale, float* scores, const States& states,
                           int index) {
  const int lane = Thread() % 32;
  SeenKeys seen = {0, 0};
  if (query.row >= 0) seen = KeysOf(query.position, args.window);
  float values[kAttentionTile / 32];
  float maximum = LowestFloat();
#pragma unroll
  for (int j = 0; j < kAttentionTile / 32; ++j) {
    const int64_t key = tile + j * 32 + lane;
    values[j] = scores[j * 32 + lane];
    if (key < seen.begin || key >= seen.end) continue;
    values[j] = AdjustScore(args, values[j], query.head, key, query.position);
    maximum = Larger(values[j], maximum);
  }
  for (int other = 16; other > 0; other /= 2) {
    maximum = Larger(__shfl_xor_sync(0xffffffffu, maximum, other), maximum);
  }
  // Keys lane and lane + 16 of every 32: 16 accumulators, the even rounds of 16 keys and the odd
  // ones in turn.
  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < kAttentionTile / 32; ++j) {
    const int64_t key = tile + j * 32 + lane;
    const bool is_seen = key >= seen.begin && key < seen.end;
    values[j] = is_seen ? Exp(values[j] - maximum) : 0.0f;
    float weight = values[j];
    if constexpr (kInt8) {
      if (is_seen) weight = weight * value_scale(key);
    }
    scores[j * 32 + lane] = weight;
    const float next = __shfl_xor_sync(0xffffffffu, values[j], 16);
    const float low = lane < 16 ? values[j] : next;
    const float high = lane < 16 ? next : values[j];
    sum = (sum + low) + high;
  }
  for (int other = 8; other > 0; other /= 2) {
    sum = sum + __shfl_xor_sync(0xffffffffu, sum, other);
  }
  if (lane != 0) return;
  const bool touched = seen.begin < tile + kAttentionTile && seen.end > tile;
  if (!touched) {
    states.keep[index] = 1.0f;
    states.take[index] = -1.0f;
  } else if (states.sum[index] < 0.0f) {  // the first tile that it sees
    states.keep[index] = 0.0f;
    states.take[index] = 2.0f;
    states.maximum[index] = maximum;
    states.sum[index] = sum;
  } else {
    const Merge merge = MergeMaxima(states.maximum[index], maximum);
    states.keep[index] = merge.keep;
    states.take[index] = merge.take;
    states.maximum[index] = merge.maximum;
    states.sum[index] = states.sum[index] * merge.keep + sum * merge.take;
  }
}

// take: -1 the tile is not seen, 2 it is the first, else the factors of a merge.
__device__ __forceinline__ float Merged(float running, float next, float keep, float take) {
  if (take < 0.0f) return running;
  if (take > 1.0f) return next;
  return running * keep + next * take;
}

// Sums of weights and values of 16 queries: kWords x 8 elements.
template <typename Type>
__device__ void AddValues(const float* weights, const uint16_t* values, const Layout& layout,
                          int first_key, int words, float (&sums)[kMaxWords][4]) {
  const int lane = Thread() % 32;
  for (int key = 0; key < kChunkKeys; key += 16) {
    uint32_t a[4];
    NarrowLeft<Type>(weights, first_key + key, a);
#pragma unroll
    for (int w = 0; w < kMaxWords; w += 2) {
      if (w >= words) break;
      uint32_t b[4];
      // Matrices: keys 0-7 and 8-15 of elements 0-7, then of elements 8-15.
      LoadTransposed(b, values + (key + lane / 8 % 2 * 8 + lane % 8) * layout.ValueStride() +
                            w * 8 + lane / 16 * 8);
      Type::Mma(sums[w], a, b[0], b[1]);
      Type::Mma(sums[w + 1], a, b[2], b[3]);
    }
  }
}

// NaN or infinity in a value that no row sees would pass through a product with 0.
__device__ void ClearUnseenValues(uint16_t* values, const Layout& layout, int64_t first_key,
                                  int64_t begin, int64_t end) {
  if (first_key >= begin && first_key + kChunkKeys <= end) return;
  for (int64_t i = Thread(); i < kChunkKeys * layout.value_size; i += blockDim.x) {
    const int64_t key = first_key + i / layout.value_size;
    if (key >= begin && key < end) continue;
    values[i / layout.value_size * layout.ValueStride() + i % layout.value_size] = 0;
  }
}

struct Buffers {
  Layout layout;
  float* scores;
  States states;
  uint16_t* queries;
  uint16_t* chunks[2];

  __device__ explicit Buffers(const Layout& l) : layout(l) {
    unsigned char* next = SharedMemory<unsigned char>();
    scores = reinterpret_cast<float*>(next);
    next += l.ScoreBytes();
    float* state = reinterpret_cast<float*>(next);
    states = {state, state + l.queries, state + 2 * l.queries, state + 3 * l.queries};
    next += l.StateBytes();
    queries = reinterpret_cast<uint16_t*>(next);
    next += l.QueryBytes();
    chunks[0] = reinterpret_cast<uint16_t*>(next);
    chunks[1] = reinterpret_cast<uint16_t*>(next + l.ChunkBytes());
  }
};

// Walks over the chunks of a tile, the next one under way while `body(chunk, data)` has one.
template <bool kKeys, bool kInt8, typename Body>
__device__ __forceinline__ void ForEveryChunk(const KvLayer& cache, const uint32_t* blocks,
                                              int64_t kv_head, int64_t tile, int64_t end_key,
                                              const Buffers& buffers, const Body& body) {
  auto start = [&](int chunk) {
    StartChunk<kKeys, kInt8>(cache, blocks, kv_head, tile + chunk * kChunkKeys, end_key,
                             buffers.layout, buffers.chunks[chunk % 2]);
  };
  start(0);
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    if (chunk + 1 < kChunks) {
      start(chunk + 1);
      WaitCopies<1>();
    } else {
      WaitCopies<0>();
    }
    __syncthreads();
    body(chunk, buffers.chunks[chunk % 2]);
    __syncthreads();
  }
}

template <typename Type>
__device__ void LoadQueries(const DeviceRows& rows, const AttentionArgs& args, const Task& task,
                            const Buffers& buffers) {
  const int64_t size = buffers.layout.head_size;
  for (int64_t i = Thread(); i < buffers.layout.queries * size; i += blockDim.x) {
    const Query query = QueryOf(rows, task, static_cast<int>(i / size));
    const float value =
        query.row < 0 ? 0.0f
                      : args.query[(query.row * args.num_heads + query.head) * size + i % size];
    buffers.queries[i / size * buffers.layout.QueryStride() + i % size] = Type::Narrow(value);
  }
  for (int i = Thread(); i < buffers.layout.queries; i += blockDim.x) {
    buffers.states.maximum[i] = LowestFloat();
    buffers.states.sum[i] = -1.0f;
  }
}

int64_t __device__ __forceinline__ ScratchIndex(int64_t tile, const DeviceRows& rows,
                                                const AttentionArgs& args, int64_t row,
                                                int64_t head, int64_t value_size) {
  return ((tile * rows.num_rows + row) * args.num_heads + head) * (value_size + 2);
}

// Writes what a warp holds of its queries: the answer, or, with `scratch`, a tile's part of it.
__device__ void StoreOutput(const DeviceRows& rows, const AttentionArgs& args, const Task& task,
                            const Buffers& buffers, int first_query, int first_word, int words,
                            const float (&output)[kMaxWords][4], int64_t tile, float* scratch) {
  const int g = Thread() % 32 / 4;
  const int t = Thread() % 4;
  const int64_t size = buffers.layout.value_size;
  for (int half = 0; half < 2; ++half) {
    const int index = first_query + g + half * 8;
    const Query query = QueryOf(rows, task, index);
    if (query.row < 0) continue;
    float maximum = buffers.states.maximum[index];
    float sum = buffers.states.sum[index];
    if (sum < 0.0f) continue;  // a tile that the row does not see
    float* to = args.output + (query.row * args.num_heads + query.head) * size;
    if (scratch != nullptr) {
      to = scratch + ScratchIndex(tile, rows, args, query.row, query.head, size);
      if (first_word == 0 && t == 0) {
        to[0] = maximum;
        to[1] = sum;
      }
      to += 2;
    }
    float keep = 1.0f;
    if (scratch == nullptr && args.sinks != nullptr) {
      const Merge merge = MergeMaxima(maximum, args.sinks[query.head]);
      keep = merge.keep;
      sum = sum * merge.keep + merge.take;
    }
#pragma unroll
    for (int w = 0; w < kMaxWords; ++w) {
      if (w >= words) break;
      for (int i = 0; i < 2; ++i) {
        float value = output[w][half * 2 + i];
        if (scratch == nullptr) value = value * keep / sum;
        to[(first_word + w) * 8 + 2 * t + i] = value;
      }
    }
  }
}

template <typename Type, bool kInt8, int kQueryTiles, int kWarpsEach>
__global__ void __launch_bounds__(kQueryTiles* kWarpsEach * 32)
    AttendMmaKernel(DeviceRows rows, AttentionArgs args, KvLayer cache, HeadGroups heads,
                    const RowGroup* groups, int64_t tiles_per_part, float* scratch) {
  constexpr int kWarps = kQueryTiles * kWarpsEach;
  constexpr int kQueries = kQueryTiles * 16;
  const Buffers buffers({cache.head_size, cache.value_size, kQueries});
  const Layout& layout = buffers.layout;
  // Heads of a KV head beyond kQueries go to further blocks.
  const int head_chunks = (heads.largest + kQueries - 1) / kQueries;
  Task task;
  task.group = groups[blockIdx.x];
  task.kv_head = blockIdx.y / head_chunks;
  task.first_head = heads.begin[task.kv_head] + blockIdx.y % head_chunks * kQueries;
  task.num_heads = heads.begin[task.kv_head + 1] - task.first_head;
  if (task.num_heads > kQueries) task.num_heads = kQueries;
  if (task.group.count == 0 || task.num_heads <= 0) return;

  const SeenKeys front = KeysOf(rows.positions[task.group.first], args.window);
  const int64_t end_key = rows.positions[task.group.first + task.group.count - 1] + int64_t{1};
  int64_t tile = front.begin / kAttentionTile;
  int64_t end_tile = (end_key + kAttentionTile - 1) / kAttentionTile;
  const int64_t part = blockIdx.z * tiles_per_part;
  if (tile < part) tile = part;
  if (end_tile > part + tiles_per_part) end_tile = part + tiles_per_part;
  if (tile >= end_tile) return;

  LoadQueries<Type>(rows, args, task, buffers);
  const uint32_t* blocks = rows.blocks + rows.table_begin[task.group.first];
  const int warp = Thread() / 32;
  const int query_tile = warp / kWarpsEach;
  const int all_words = static_cast<int>(layout.value_size / 8);
  const int words_each = (all_words / 2 + kWarpsEach - 1) / kWarpsEach * 2;
  const int first_word = warp % kWarpsEach * words_each;
  const int words = all_words - first_word < words_each ? all_words - first_word : words_each;
  const int g = Thread() % 32 / 4;
  float* own_scores = buffers.scores + query_tile * 16 * kScoreStride;
  float output[kMaxWords][4] = {};
  const auto part_of = [&](int64_t key) {
    return HeadPart(cache, blocks[key / kKvBlockTokens], task.kv_head);
  };
  const auto value_scale = [&](int64_t key) { return part_of(key).ValueScale(key); };
  __syncthreads();

  for (; tile < end_tile; ++tile) {
    const int64_t first_key = tile * kAttentionTile;
    ForEveryChunk<true, kInt8>(
        cache, blocks, task.kv_head, first_key, end_key, buffers, [&](int chunk, uint16_t* keys) {
          for (int i = warp; i < kQueryTiles * kChunkBlocks; i += kWarps) {
            const int block = i % kChunkBlocks;
            const int queries = i / kChunkBlocks * 16;
            const int64_t key = first_key + chunk * kChunkKeys + block * kKvBlockTokens;
            const auto key_scale = [&](int i) {
              return key < end_key ? part_of(key).KeyScale(key + i) : 0.0f;
            };
            ScoreBlock<Type, kInt8>(buffers.queries + queries * layout.QueryStride(),
                                    keys + block * layout.head_size * kKeyStride, layout,
                                    args.scale, key_scale,
                                    buffers.scores + queries * kScoreStride + chunk * kChunkKeys +
                                        block * kKvBlockTokens);
          }
        });
    for (int i = warp; i < kQueries; i += kWarps) {
      WeighQuery<kInt8>(args, QueryOf(rows, task, i), first_key, value_scale,
                        buffers.scores + i * kScoreStride, buffers.states, i);
    }
    float sums[kMaxWords][4] = {};
    ForEveryChunk<false, kInt8>(cache, blocks, task.kv_head, first_key, end_key, buffers,
                                [&](int chunk, uint16_t* values) {
                                  const int64_t key = first_key + chunk * kChunkKeys;
                                  ClearUnseenValues(values, layout, key, front.begin, end_key);
                                  __syncthreads();
                                  if (words > 0) {
                                    AddValues<Type>(own_scores, values + first_word * 8, layout,
                                                    chunk * kChunkKeys, words, sums);
                                  }
                                });
    for (int half = 0; half < 2; ++half) {
      const float keep = buffers.states.keep[query_tile * 16 + g + half * 8];
      const float take = buffers.states.take[query_tile * 16 + g + half * 8];
#pragma unroll
      for (int w = 0; w < kMaxWords; ++w) {
        for (int i = 0; i < 2; ++i) {
          output[w][half * 2 + i] =
              Merged(output[w][half * 2 + i], sums[w][half * 2 + i], keep, take);
        }
      }
    }
    __syncthreads();
  }
  if (words > 0) {
    StoreOutput(rows, args, task, buffers, query_tile * 16, first_word, words, output, part,
                scratch);
  }
}

// Merges the tiles of a row and head, ascending, as a block that has them all does.
__global__ void MergeTilesKernel(DeviceRows rows, AttentionArgs args, int64_t value_size,
                                 const float* scratch) {
  const int64_t row = blockIdx.x;
  const int64_t head = blockIdx.y;
  const int64_t position = rows.positions[row];
  if (position < 0) return;
  const SeenKeys seen = KeysOf(position, args.window);
  const int64_t first = seen.begin / kAttentionTile;
  const int64_t end = (seen.end + kAttentionTile - 1) / kAttentionTile;
  for (int64_t i = Thread(); i < value_size; i += blockDim.x) {
    const float* part = scratch + ScratchIndex(first, rows, args, row, head, value_size);
    float maximum = part[0];
    float sum = part[1];
    float value = part[2 + i];
    for (int64_t tile = first + 1; tile < end; ++tile) {
      part = scratch + ScratchIndex(tile, rows, args, row, head, value_size);
      const Merge merge = MergeMaxima(maximum, part[0]);
      maximum = merge.maximum;
      sum = sum * merge.keep + part[1] * merge.take;
      value = Merged(value, part[2 + i], merge.keep, merge.take);
    }
    float keep = 1.0f;
    if (args.sinks != nullptr) {
      const Merge merge = MergeMaxima(maximum, args.sinks[head]);
      keep = merge.keep;
      sum = sum * merge.keep + merge.take;
    }
    args.output[(row * args.num_heads + head) * value_size + i] = value * keep / sum;
  }
}

template <typename Type, bool kInt8, int kQueryTiles, int kWarpsEach>
int LaunchAttention(const DeviceRows& rows, const AttentionArgs& args, const KvLayer& cache,
                    const HeadGroups& heads, const AttentionCut& cut, CUstream_st* stream) {
  const Layout layout = {cache.head_size, cache.value_size, kQueryTiles * 16};
  const int64_t head_chunks = CeilDiv(heads.largest, kQueryTiles * 16);
  const bool split = cut.scratch != nullptr;
  const dim3 grid(static_cast<unsigned>(cut.num_groups),
                  static_cast<unsigned>(cache.num_kv_heads * head_chunks),
                  static_cast<unsigned>(split ? cut.num_tiles : 1));
  const int error =
      Launch(stream, AttendMmaKernel<Type, kInt8, kQueryTiles, kWarpsEach>, grid,
             kQueryTiles * kWarpsEach * 32, static_cast<size_t>(layout.Bytes()), rows, args, cache,
             heads, cut.groups, split ? int64_t{1} : cut.num_tiles, cut.scratch);
  if (error != 0 || !split) return error;
  const dim3 merge_grid(static_cast<unsigned>(rows.num_rows),
                        static_cast<unsigned>(args.num_heads));
  return Launch(stream, MergeTilesKernel, merge_grid, 128, 0, rows, args, cache.value_size,
                static_cast<const float*>(cut.scratch));
}

}  // namespace

bool CanAttendMma(const KvLayer& cache) {
  const bool narrow = cache.int8 || cache.dtype != shard_loader::DType::kF32;
  return narrow && cache.head_size % 16 == 0 && cache.value_size % 16 == 0 &&
         cache.head_size <= kMaxMmaHeadSize && cache.value_size <= kMaxMmaHeadSize &&
         cache.num_kv_heads <= kMaxKvHeads;
}

int QueriesOfBlock(int64_t value_size, bool prefill) {
  if (!prefill) return 16;
  return value_size <= 128 ? 64 : 32;
}

int64_t AttentionScratchFloats(int64_t num_rows, int64_t num_heads, int64_t value_size,
                               int64_t num_tiles) {
  return num_tiles * num_rows * num_heads * (value_size + 2);
}

int AttendMma(const DeviceRows& rows, const AttentionArgs& args, const KvLayer& cache,
              const HeadGroups& heads, const AttentionCut& cut, CUstream_st* stream) {
  auto run = [&](auto type, auto int8) -> int {
    using Type = decltype(type);
    constexpr bool kInt8 = decltype(int8)::value;
    if (!cut.prefill) {
      return LaunchAttention<Type, kInt8, 1, 4>(rows, args, cache, heads, cut, stream);
    }
    if (cache.value_size <= 128) {
      return LaunchAttention<Type, kInt8, 4, 2>(rows, args, cache, heads, cut, stream);
    }
    return LaunchAttention<Type, kInt8, 2, 4>(rows, args, cache, heads, cut, stream);
  };
  if (cache.int8) return run(BF16(), std::true_type());
  return cache.dtype == shard_loader::DType::kF16 ? run(F16(), std::false_type())
                                                  : run(BF16(), std::false_type());
}

}  // namespace tessera::worker::cuda
