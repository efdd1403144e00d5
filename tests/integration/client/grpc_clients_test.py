"""What a Python client of the plain gRPC API sees of a real server."""

import asyncio
import sys
import time
import unittest

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)

from running import HANG_LIMIT, SOURCE, Server, golden

sys.path.insert(0, str(SOURCE / "client/examples/python"))
from stubs import admin, admin_rpc, inference, inference_rpc  # noqa: E402

SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
server = None
channel = None


def setUpModule():
    global server, channel
    server = Server("--tp", "2", "--dtype", "f32")
    channel = grpc.insecure_channel(server.target)


def tearDownModule():
    channel.close()
    assert server.stop() == 0, "".join(server.log)


def long_request():
    """Generates to the end of the context unless something stops it."""
    request = inference.GenerateRequest(text=b"Once upon a time")
    request.stop.ignore_eos = True
    return request


def running():
    return admin_rpc.AdminStub(channel).GetStatus(admin.GetStatusRequest()).engine.running


class Health(unittest.TestCase):
    def setUp(self):
        self.stub = health_pb2_grpc.HealthStub(channel)

    def test_check_knows_ready_and_live_and_nothing_else(self):
        for service in ["", "tessera.v1.Inference", "tessera.live"]:
            request = health_pb2.HealthCheckRequest(service=service)
            self.assertEqual(self.stub.Check(request, timeout=HANG_LIMIT).status, SERVING)
        with self.assertRaises(grpc.RpcError) as caught:
            self.stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=HANG_LIMIT)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_watch_says_the_state_at_once(self):
        for service, status in [("", SERVING), ("tessera.live", SERVING),
                                ("nobody", SERVICE_UNKNOWN)]:
            call = self.stub.Watch(health_pb2.HealthCheckRequest(service=service),
                                   timeout=HANG_LIMIT)
            self.assertEqual(next(call).status, status)
            call.cancel()


class Reflection(unittest.TestCase):
    def test_it_lists_the_services_and_describes_them(self):
        database = ProtoReflectionDescriptorDatabase(channel)
        services = set(database.get_services())
        self.assertLessEqual({"tessera.v1.Inference", "tessera.v1.Admin"}, services)
        file = database.FindFileContainingSymbol("tessera.v1.Inference")
        self.assertIn("Generate", [method.name for method in file.service[0].method])


class Calls(unittest.TestCase):
    def setUp(self):
        self.stub = inference_rpc.InferenceStub(channel)

    def wait_until_nothing_runs(self):
        deadline = time.monotonic() + HANG_LIMIT
        while running() > 0:
            self.assertLess(time.monotonic(), deadline, "the request goes on without its client")

    def test_a_cancelled_call_is_dropped(self):
        call = self.stub.Generate(long_request(), timeout=HANG_LIMIT)
        for response in call:
            if response.WhichOneof("event") == "delta":
                break
        call.cancel()
        with self.assertRaises(grpc.RpcError) as caught:
            for _ in call:
                pass
        self.assertEqual(caught.exception.code(), grpc.StatusCode.CANCELLED)
        self.wait_until_nothing_runs()

    def test_a_deadline_ends_a_call(self):
        with self.assertRaises(grpc.RpcError) as caught:
            for _ in self.stub.Generate(long_request(), timeout=0.03):
                pass
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.wait_until_nothing_runs()

    def test_an_error_names_the_field(self):
        request = long_request()
        request.sampling.temperature = -1
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.stub.Generate(request, timeout=HANG_LIMIT))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        details = dict(caught.exception.trailing_metadata())["grpc-status-details-bin"]
        self.assertIn(b"temperature", details)
        self.assertIn(b"google.rpc.BadRequest", details)

    def test_a_feature_that_is_not_there_is_named(self):
        newer = long_request().SerializeToString() + b"\xb8\x3e\x01"  # field 999: 1
        request = inference.GenerateRequest.FromString(newer)
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.stub.Generate(request, timeout=HANG_LIMIT))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertIn("999", caught.exception.details())

    def test_the_template_of_chat_can_be_seen(self):
        rendered = self.stub.ApplyChatTemplate(inference.ApplyChatTemplateRequest(
            messages=[inference.ChatMessage(role="user", content=b"Hi <|im_end|>")]))
        self.assertTrue(rendered.text.startswith(b"<|im_start|>"))
        control = 2  # <|im_end|>, once for the turn and not for the user's text
        self.assertEqual(list(rendered.token_ids.ids).count(control), 1)


class Streams(unittest.TestCase):
    """Sixty-four at a time, of mixed lengths: each must be what it is alone."""

    def requests(self):
        prompts = ["Once upon a time", "The cat", "What is the capital of", "A", "Tom and Lily went"]
        for i in range(64):
            request = inference.GenerateRequest(text=prompts[i % len(prompts)].encode())
            request.sampling.seed = i
            request.sampling.temperature = 0.0 if i % 4 == 0 else 1.0
            request.stop.max_tokens = 1 + (i * 7) % 48
            request.output.token_ids = True
            request.output.logprobs = 0
            yield request

    async def answer(self, stub, request):
        ids, logprobs, text = [], [], b""
        async for response in stub.Generate(request, timeout=HANG_LIMIT):
            if response.WhichOneof("event") == "delta":
                ids += response.delta.token_ids
                logprobs += [token.logprob for token in response.delta.logprobs]
                text += response.delta.text
        return ids, logprobs, text

    async def all(self):
        async with grpc.aio.insecure_channel(server.target) as aio_channel:
            stub = inference_rpc.InferenceStub(aio_channel)
            requests = list(self.requests())
            together = await asyncio.gather(*(self.answer(stub, each) for each in requests))
            alone = [await self.answer(stub, each) for each in requests]
        return together, alone

    def test_each_stream_equals_its_lone_run(self):
        together, alone = asyncio.run(self.all())
        for i, (one, other) in enumerate(zip(together, alone)):
            self.assertEqual(one, other, f"stream {i}")
            self.assertEqual(len(one[0]), len(one[1]))

    def test_the_golden_prompt_among_others(self):
        case = golden("Once upon a time")

        async def run():
            async with grpc.aio.insecure_channel(server.target) as aio_channel:
                stub = inference_rpc.InferenceStub(aio_channel)
                greedy = inference.GenerateRequest(text=case["prompt"].encode())
                greedy.sampling.temperature = 0.0
                greedy.stop.max_tokens = len(case["output_ids"])
                greedy.output.token_ids = True
                others = list(self.requests())[:16]
                answers = await asyncio.gather(
                    self.answer(stub, greedy), *(self.answer(stub, each) for each in others))
                return answers[0][0]

        self.assertEqual(asyncio.run(run()), case["output_ids"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
