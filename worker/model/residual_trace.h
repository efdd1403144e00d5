// Writes a hash of the residual stream behind every layer, so that two runs can be compared.
#ifndef TESSERA_WORKER_MODEL_RESIDUAL_TRACE_H_
#define TESSERA_WORKER_MODEL_RESIDUAL_TRACE_H_

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backend/ops.h"

namespace tessera::worker {

// A line per row and layer: "SEQUENCE POSITION LAYER HASH", the hash in hexadecimal, layer -1 for
// the embedding. Owned by the thread that runs steps.
class ResidualTrace {
 public:
  // Appends to `path`.
  static absl::StatusOr<std::unique_ptr<ResidualTrace>> Open(const std::string& path);
  ~ResidualTrace();
  ResidualTrace(const ResidualTrace&) = delete;
  ResidualTrace& operator=(const ResidualTrace&) = delete;

  // The sequence of every row of the forward pass that comes.
  void Begin(std::vector<uint64_t> sequences) { sequences_ = std::move(sequences); }
  // residual: [rows, hidden], behind `layer`.
  void Layer(int64_t layer, const RowTable& rows, const float* residual, int64_t hidden);
  // What was written so far outlives the process.
  void Flush();

 private:
  explicit ResidualTrace(FILE* file) : file_(file) {}

  FILE* const file_;
  std::vector<uint64_t> sequences_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_RESIDUAL_TRACE_H_
