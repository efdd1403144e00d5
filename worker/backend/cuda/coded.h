// What products with coded weights need around their kernels.
#ifndef TESSERA_WORKER_BACKEND_CUDA_CODED_H_
#define TESSERA_WORKER_BACKEND_CUDA_CODED_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/scratch.h"

namespace tessera::worker::cuda {

class CodedWork {
 public:
  // All borrowed; `moves` goes up when scratch memory moves.
  CodedWork(DeviceMemory& memory, Constants* constants, int64_t* moves)
      : memory_(memory), constants_(constants), codes_(memory, "inputs as integers", moves) {}

  absl::Status Reserve(int64_t bytes) { return codes_.Reserve(bytes); }
  // Errors are those of memory; a launch's is left with it.
  absl::Status EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count,
                         float* output);
  // `lanes` as for Order::kFma16.
  absl::Status Product(const ProductArgs& args, const LaneList& lanes, const Grouping& groups);

 private:
  // Fills segments_: the groups within the lanes. Returns the bytes of a row's codes.
  int64_t CutSegments(const ProductArgs& args);

  DeviceMemory& memory_;
  Constants* const constants_;
  Scratch codes_;
  std::vector<CodedSegment> segments_;
};

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_CODED_H_
