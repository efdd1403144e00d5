#!/bin/sh
# What this machine can do at most, in arithmetic, memory and exchanges: limits.sh [THREADS]
set -eu
"$BUILD/tests/limits_bench" "$@"
"$BUILD/tests/comm_bench" shm
"$BUILD/tests/grpc_bench"
