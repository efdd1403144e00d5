"""Asks two questions in one conversation, each answer streamed: chat.py [TARGET]"""

import sys

import grpc

from stubs import inference, inference_rpc

QUESTIONS = ["What is the capital of Norway?", "And of Italy?"]


def ask(stub, messages):
    """Prints the answer as it comes, and returns it."""
    request = inference.ChatRequest(messages=messages)
    request.sampling.temperature = 0.0
    request.stop.max_tokens = 64
    answer = b""
    for response in stub.Chat(request, timeout=60):
        if response.WhichOneof("event") == "delta":
            answer += response.delta.text
            print(response.delta.text.decode(), end="", flush=True)
    print()
    return answer


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001"
    messages = []
    with grpc.insecure_channel(target) as channel:
        stub = inference_rpc.InferenceStub(channel)
        for question in QUESTIONS:
            print(f"> {question}")
            messages.append(inference.ChatMessage(role="user", content=question.encode()))
            try:
                answer = ask(stub, messages)
            except grpc.RpcError as error:
                sys.exit(f"{error.code().name}: {error.details()}")
            messages.append(inference.ChatMessage(role="assistant", content=answer))


if __name__ == "__main__":
    main()
