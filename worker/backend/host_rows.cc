#include <cstring>

#include "worker/backend/backend.h"

namespace tessera::worker {

void CopyHostRows(const CopyRowsArgs& args) {
  for (int64_t i = 0; i < args.num_rows; ++i) {
    const int64_t from = args.from_rows == nullptr ? i / args.from_repeat : args.from_rows[i];
    const int64_t to = args.to_rows == nullptr ? i : args.to_rows[i];
    std::memcpy(args.to + to * args.to_stride, args.from + from * args.from_stride,
                static_cast<size_t>(args.size) * sizeof(float));
  }
}

void AddHostTree(const AddTreeArgs& args) {
  for (int64_t i = 0; i < args.size; ++i) {
    float waiting[kMaxFoldDepth] = {};
    int depth = 0;
    for (int32_t r = 0; r < args.num_roots; ++r) {
      float sum = args.roots[r][i];
      for (int32_t fold = 0; fold < args.folds[r]; ++fold) sum = waiting[--depth] + sum;
      waiting[depth++] = sum;
    }
    args.output[i] = waiting[0];
  }
}

}  // namespace tessera::worker
