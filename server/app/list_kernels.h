// `tessera-server --kernels list`: what the workers of this machine can run.
#ifndef TESSERA_SERVER_APP_LIST_KERNELS_H_
#define TESSERA_SERVER_APP_LIST_KERNELS_H_

namespace tessera::server {

// Becomes `tessera-worker --kernels list`, which knows. Returns an exit code where that program is
// missing.
int ListKernelSets();

}  // namespace tessera::server

#endif  // TESSERA_SERVER_APP_LIST_KERNELS_H_
