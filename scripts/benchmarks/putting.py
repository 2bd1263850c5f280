"""Batches of PutVectors that are signed before the clock starts."""

import time
from collections.abc import Sequence
from contextlib import closing
from threading import Event

from scripts.benchmarks.run import Run
from scripts.benchmarks.vector_index import LOADING_CLIENTS, VectorIndex
from scripts.testbed.side_by_side import Job, side_by_side


def signed_batches(run: Run, index: VectorIndex) -> list[bytes]:
    with run.steps.step("signing batches", len(index.dataset)) as step:
        requests = []
        for rows in index.dataset.batches():
            requests.append(index.put(rows))
            step.advance(rows.stop - rows.start)
    return requests


def put_all(run: Run, index: VectorIndex, requests: Sequence[bytes], what: str) -> tuple[float, float]:
    """When the first was sent and the last acknowledged."""
    waiting = iter(requests)
    with run.steps.step(what, len(requests)) as step:

        def put(stopping: Event) -> float:
            with closing(index.api.connect()) as connection:
                while not stopping.is_set() and (request := next(waiting, None)):
                    connection.exchange(request)
                    step.advance()
            return time.perf_counter()

        jobs: list[Job[float]] = [put] * LOADING_CLIENTS
        started = time.perf_counter()
        ended, _ = side_by_side(jobs)
    return started, max(ended)
