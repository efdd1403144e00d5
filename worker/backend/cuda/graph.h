// What a stream was asked to do, recorded once and repeated at the cost of one launch.
#ifndef TESSERA_WORKER_BACKEND_CUDA_GRAPH_H_
#define TESSERA_WORKER_BACKEND_CUDA_GRAPH_H_

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct CUgraphExec_st;
struct CUstream_st;

namespace tessera::worker::cuda {

class Graph {
 public:
  // Records what `work` asks the stream for; nothing of it runs. Errors are those of `work` and of
  // the driver.
  static absl::StatusOr<std::unique_ptr<Graph>> Record(CUstream_st* stream,
                                                       absl::FunctionRef<absl::Status()> work);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // A cudaError_t.
  int Launch(CUstream_st* stream) const;

 private:
  explicit Graph(CUgraphExec_st* graph) : graph_(graph) {}
  CUgraphExec_st* const graph_;
};

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_GRAPH_H_
