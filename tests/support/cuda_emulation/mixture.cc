// The device's source, compiled for this host.
#include "worker/backend/cuda/mixture.cu"  // NOLINT
