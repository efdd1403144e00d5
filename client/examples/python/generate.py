"""Completes a prompt and prints the text as it comes: generate.py [TARGET] [PROMPT]"""

import sys

import grpc

from stubs import inference, inference_rpc


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001"
    prompt = sys.argv[2] if len(sys.argv) > 2 else "Once upon a time"

    request = inference.GenerateRequest(text=prompt.encode())
    request.sampling.temperature = 0.0
    request.stop.max_tokens = 64

    with grpc.insecure_channel(target) as channel:
        stub = inference_rpc.InferenceStub(channel)
        try:
            # A deadline of its own for every call; leaving the loop early would cancel it.
            for response in stub.Generate(request, timeout=60):
                event = response.WhichOneof("event")
                if event == "delta":
                    print(response.delta.text.decode(), end="", flush=True)
                elif event == "finished":
                    usage = response.finished.usage
                    print(f"\n[{usage.prompt_tokens} tokens in, {usage.completion_tokens} out]")
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
