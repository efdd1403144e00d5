#!/usr/bin/env bash
# The server's calls by hand with grpcurl, which learns them from the server's reflection:
# grpcurl.sh [TARGET]
set -euo pipefail
target=${1:-127.0.0.1:8001}

echo "# services"
grpcurl -plaintext "$target" list

echo "# ready?"
grpcurl -plaintext -d '{"service": ""}' "$target" grpc.health.v1.Health/Check

echo "# a completion; bytes are base64 in JSON"
grpcurl -plaintext -d @ "$target" tessera.v1.Inference/Generate <<EOF
{
  "text": "$(printf 'Once upon a time' | base64)",
  "sampling": {"temperature": 0},
  "stop": {"maxTokens": 16}
}
EOF

echo "# status"
grpcurl -plaintext "$target" tessera.v1.Admin/GetStatus
