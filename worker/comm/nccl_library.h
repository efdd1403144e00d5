// NCCL, found at run time through the CUDA plugin.
#ifndef TESSERA_WORKER_COMM_NCCL_LIBRARY_H_
#define TESSERA_WORKER_COMM_NCCL_LIBRARY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/comm/nccl_api.h"

namespace tessera::worker {

// `stream`: a cudaStream_t, borrowed, of the device that this thread uses. FAILED_PRECONDITION with
// a sentence where the plugin or libnccl.so.2 is missing or too old.
absl::StatusOr<std::unique_ptr<NcclApi>> OpenNccl(const std::string& plugin_dir, void* stream);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_NCCL_LIBRARY_H_
