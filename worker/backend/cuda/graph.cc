#include "worker/backend/cuda/graph.h"

#include <cuda_runtime.h>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker::cuda {
namespace {

absl::Status GraphError(cudaError_t error) {
  return absl::UnavailableError(
      absl::StrCat("cuda: recording a step: ", cudaGetErrorString(error)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Graph>> Graph::Record(CUstream_st* stream,
                                                     absl::FunctionRef<absl::Status()> work) {
  // Other threads, of other ranks, may ask for memory meanwhile.
  cudaError_t error = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  if (error != cudaSuccess) return GraphError(error);
  const absl::Status status = work();
  cudaGraph_t recorded = nullptr;
  error = cudaStreamEndCapture(stream, &recorded);
  cudaGraphExec_t graph = nullptr;
  if (status.ok() && error == cudaSuccess) error = cudaGraphInstantiate(&graph, recorded, 0);
  if (recorded != nullptr) cudaGraphDestroy(recorded);
  RETURN_IF_ERROR(status);
  if (error != cudaSuccess) return GraphError(error);
  return std::unique_ptr<Graph>(new Graph(graph));
}

Graph::~Graph() { cudaGraphExecDestroy(graph_); }

int Graph::Launch(CUstream_st* stream) const { return cudaGraphLaunch(graph_, stream); }

}  // namespace tessera::worker::cuda
