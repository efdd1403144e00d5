// The C entry of libtessera_cuda.so to NCCL, which it opens by name. A NcclApi is ours
// (worker/comm/nccl_api.h): both sides must come from one build.
#ifndef TESSERA_WORKER_COMM_NCCL_PLUGIN_H_
#define TESSERA_WORKER_COMM_NCCL_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

namespace tessera::worker {
class NcclApi;
}

// Goes up with every change of NcclApi.
#define TESSERA_NCCL_PLUGIN_VERSION 2
#define TESSERA_NCCL_PLUGIN_ENTRY "tessera_nccl_plugin"

extern "C" {

// An api that the caller owns, or null with a sentence; null too where `version` is not the
// plugin's.
typedef tessera::worker::NcclApi* (*TesseraNcclPluginEntry)(uint32_t version, void* stream,
                                                            char* error, size_t error_bytes);

}  // extern "C"

#endif  // TESSERA_WORKER_COMM_NCCL_PLUGIN_H_
