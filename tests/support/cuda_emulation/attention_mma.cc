// The device's source, compiled for this host.
#include "worker/backend/cuda/attention_mma.cu"  // NOLINT
