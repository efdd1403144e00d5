#!/usr/bin/env bash
# Runs a Python test with the packages that gRPC clients use: with_grpc_packages.sh TEST.py [ARGS...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=1.60.1
python=$("$here/venv.sh" "grpcio==$version" "grpcio-tools==$version" \
  "grpcio-health-checking==$version" "grpcio-reflection==$version")
exec "$python" "$@"
