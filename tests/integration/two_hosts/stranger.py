"""Opens a session with a worker as a frontend would, without its secret: stranger.py ADDRESS VERSION. Prints as JSON
what came of it: whether the worker sent its challenge, and the status with which it ended the session."""
import hashlib
import hmac
import json
import os
import pathlib
import queue
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "proto"))
import grpc  # noqa: E402

messages, services = grpc.protos_and_services("internal/v1/worker.proto")
PROTOCOL_VERSION = 1


def main(address, version):
    commands = queue.Queue()
    nonce = os.urandom(32)
    commands.put(messages.Command(hello=messages.Hello(
        protocol_version=PROTOCOL_VERSION, version=version, epoch=1, nonce=nonce)))
    found = {"challenged": False, "welcomed": False, "status": None, "details": None}
    with grpc.insecure_channel(address) as channel:
        replies = services.WorkerStub(channel).Session(iter(commands.get, None), timeout=20)
        try:
            for reply in replies:
                if reply.HasField("challenge"):
                    found["challenged"] = True
                    terms = (1).to_bytes(8, "big") + nonce + reply.challenge.nonce
                    guess = hmac.new(b"a guess", b"tessera-session-v1" + b"server" + terms, hashlib.sha256)
                    commands.put(messages.Command(proof=messages.Proof(proof=guess.digest())))
                    commands.put(messages.Command(describe=messages.Describe()))
                else:
                    found["welcomed"] = True
        except grpc.RpcError as error:
            found["status"], found["details"] = error.code().name, error.details()
        commands.put(None)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
