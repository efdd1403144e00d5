#include <cstring>

#include "worker/backend/backend.h"

namespace tessera::worker {

void CopyHostRows(const CopyRowsArgs& args) {
  for (int64_t i = 0; i < args.num_rows; ++i) {
    const int64_t from = args.from_rows == nullptr ? i : args.from_rows[i];
    const int64_t to = args.to_rows == nullptr ? i : args.to_rows[i];
    std::memcpy(args.to + to * args.to_stride, args.from + from * args.from_stride,
                static_cast<size_t>(args.size) * sizeof(float));
  }
}

}  // namespace tessera::worker
