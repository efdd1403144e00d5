"""Stubs of the public service, made from the .proto files when they are imported.

Needs grpcio and grpcio-tools. A program of your own rather keeps the files that
`python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. tessera/v1/inference.proto`
writes.
"""

import pathlib
import sys

import grpc

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"
sys.path.insert(0, str(PROTO))

inference, inference_rpc = grpc.protos_and_services("tessera/v1/inference.proto")
admin, admin_rpc = grpc.protos_and_services("tessera/v1/admin.proto")
