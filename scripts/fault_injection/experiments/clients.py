"""Clients that are slow on purpose: with headers, with a body, with reading. They are cut, and others are served."""

import time
from collections import Counter
from contextlib import ExitStack, closing

import msgspec

from scripts.fault_injection.callers import BUCKET
from scripts.fault_injection.deployment import Deployment
from scripts.fault_injection.load import create_index
from scripts.fault_injection.slow_client import Beginning, SlowClient, held
from scripts.fault_injection.trial import Trial

CLIENTS = 20
CUT_SECONDS = 90
RECOVERY_SECONDS = 15
LARGE, LARGE_DIMENSION, LARGE_VECTORS = "large", 4_096, 100
LARGE_NAMES = {"vectorBucketName": BUCKET, "indexName": LARGE}
TOLD = b"HTTP/1.1 408 "
NOTHING = b""
"""To who has not even asked."""


def slow_headers(trial: Trial) -> None:
    """Clients send a byte of their headers now and then, for ever."""

    def begin(client: SlowClient) -> None:
        client.send(b"POST /ListVectorBuckets HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"x" * 1_000)

    with trial.deployed() as deployment:
        _judge(trial, deployment, begin, NOTHING)


def slow_bodies(trial: Trial) -> None:
    """Clients send half a signed request and then a byte now and then."""
    with trial.deployed() as deployment:
        body = msgspec.json.encode({"vectorBucketName": "b" * 10_000})
        request = deployment.api.request("CreateVectorBucket", body)

        def begin(client: SlowClient) -> None:
            client.send(request[: -len(body) // 2], request[-len(body) // 2 :])

        _judge(trial, deployment, begin)


def slow_readers(trial: Trial) -> None:
    """Clients ask for megabytes and do not read them."""
    with trial.deployed() as deployment:
        create_index(deployment.api, LARGE, LARGE_DIMENSION)
        keys = [str(row) for row in range(LARGE_VECTORS)]
        vectors = [{"key": key, "data": {"float32": [int(key) + 0.5] * LARGE_DIMENSION}} for key in keys]
        deployment.api.call("PutVectors", **LARGE_NAMES, vectors=vectors)
        asked = {"keys": keys, "returnData": True}
        request = deployment.api.request("GetVectors", msgspec.json.encode(LARGE_NAMES | asked))
        _judge(trial, deployment, lambda client: client.send(request), told=b"HTTP/1.1 200 ")


def _judge(trial: Trial, deployment: Deployment, begin: Beginning, told: bytes = TOLD) -> None:
    """Who is cut before a whole answer is told why; a reader has had the beginning of one."""
    with trial.load(deployment.api) as load, ExitStack() as stack:
        clients = [stack.enter_context(closing(SlowClient(deployment.api))) for _ in range(CLIENTS)]
        for client in clients:
            begin(client)
        left = _wait_until_cut(deployment, clients)
        trial.judge(f"all are cut within {CUT_SECONDS} s", left == 0, f"{left} of {CLIENTS} are still connected")
        heard = Counter(client.heard()[: len(told) or None] for client in clients)
        what = told.split()[1].decode() if told else "nothing"
        trial.judge(f"they are told {what}", heard == {told: CLIENTS}, dict(heard))
        refused = load.record.not_served()
        trial.judge("others are served meanwhile", refused == 0, dict(load.record.answers))
        trial.recovers(load, RECOVERY_SECONDS)
    trial.judge_leaks(deployment.cluster)


def _wait_until_cut(deployment: Deployment, clients: list[SlowClient]) -> int:
    """How many are left."""
    ports, deadline = {client.port for client in clients}, time.monotonic() + CUT_SECONDS
    while (left := len(ports & held(deployment.server))) and time.monotonic() < deadline:
        for client in clients:
            client.trickle()
        time.sleep(1)
    return left
