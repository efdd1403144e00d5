// The device's source, compiled for this host.
#include "worker/backend/cuda/draw.cu"  // NOLINT
