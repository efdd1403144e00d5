// The device's source, compiled for this host.
#include "worker/backend/cuda/product_coded.cu"  // NOLINT
