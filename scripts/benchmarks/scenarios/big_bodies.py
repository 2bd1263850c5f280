"""Bodies of 20 MiB, the most that a request may have, and what small queries wait while they are being put."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import cycle
from threading import Event

from msgspec import Struct

from scripts.benchmarks.bodies import big_put, create_index_for_bodies
from scripts.benchmarks.measuring import percentile
from scripts.benchmarks.run import Run
from scripts.testbed.api import Api, Connection
from scripts.testbed.side_by_side import Job, side_by_side

SENDERS = 2
# More than one, so that queries come to every worker and not to one that happens to be spared.
CONNECTIONS = 4
TOP_K = 10


class Waits(Struct, frozen=True):
    milliseconds: list[float]

    def percentile(self, percent: float) -> float:
        return percentile(self.milliseconds, percent)


def big_bodies(run: Run) -> None:
    index, api = run.index, run.deployment.server.api
    create_index_for_bodies(run)
    queries = index.queries(TOP_K)
    with run.steps.step("making bodies of 20 MiB"):
        bodies = [big_put(api, sender, run.options.seed) for sender in range(SENDERS)]
    seconds = run.options.seconds * run.options.rounds
    with run.steps.step("small queries on an idle server"):
        [idle], _ = side_by_side([_asking(api, queries, seconds)])
    with run.steps.step("small queries beside bodies of 20 MiB"):
        [busy], sent = side_by_side([_asking(api, queries, seconds)], beside=[_sending(api, body) for body in bodies])
    run.figure("small queries, 1 client, p50 on an idle server", idle.percentile(50), "ms")
    run.figure("small queries, 1 client, p99 on an idle server", idle.percentile(99), "ms")
    note = f"{sum(sent) / seconds:.2f} bodies/s by {SENDERS} clients"
    run.figure("p50 beside bodies of 20 MiB", busy.percentile(50), "ms", note=note)
    run.figure("p99 beside bodies of 20 MiB", busy.percentile(99), "ms", note=f"longest {busy.percentile(100):.0f} ms")


def _asking(api: Api, queries: list[bytes], seconds: float) -> Job[Waits]:
    def ask(stopping: Event) -> Waits:
        waits: list[float] = []
        with ExitStack() as stack:
            connections = cycle([stack.enter_context(closing(api.connect())) for _ in range(CONNECTIONS)])
            deadline = time.perf_counter() + seconds
            while time.perf_counter() < deadline and not stopping.is_set():
                waits.append(_wait(next(connections), queries[len(waits) % len(queries)]))
        return Waits(waits)

    return ask


def _wait(connection: Connection, request: bytes) -> float:
    started = time.perf_counter()
    connection.exchange(request)
    return (time.perf_counter() - started) * 1000


def _sending(api: Api, body: bytes) -> Callable[[Event], int]:
    """How many were acknowledged."""

    def send(stopping: Event) -> int:
        sent = 0
        with closing(api.connect()) as connection:
            while not stopping.is_set():
                connection.exchange(body)
                sent += 1
        return sent

    return send
