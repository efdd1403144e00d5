"""Waits until a server is ready, as a load balancer would: health.py [TARGET] [SECONDS]

Needs grpcio-health-checking beside grpcio. The services "" and "tessera.v1.Inference" mean ready,
"tessera.live" means that the process lives.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001"
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="")
        try:
            for response in stub.Watch(request, timeout=seconds, wait_for_ready=True):
                state = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
                print(state, flush=True)
                if response.status == health_pb2.HealthCheckResponse.SERVING:
                    return
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
