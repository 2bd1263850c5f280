"""The whole index through ListVectors, with data and metadata: by one reader, and by eight segments in parallel.

Each page is signed when the one before has come, at 0.1 ms each, and is not decoded: the vectors are counted, and the
token is looked for where it stands.  Where parallel readers keep the machine busy, the limit is the work itself; what
PostgreSQL alone needs to write the same rows as text, without sending them, is measured beside it on as many
connections as there are cores.
"""

import os
import re
import time
from collections.abc import Callable
from contextlib import closing
from statistics import median
from threading import Event
from typing import Any

from msgspec import Struct

from scripts.benchmarks.metering import Meter
from scripts.benchmarks.run import Run
from scripts.benchmarks.targets import SEGMENTS_TO_SEQUENTIAL
from scripts.benchmarks.vector_index import VectorIndex
from scripts.testbed.errors import ScriptError
from scripts.testbed.processes import idle_seconds
from scripts.testbed.side_by_side import Job, side_by_side

SEGMENTS = 8
PAGE = 1_000
MOST_ROUNDS = 3
BUSY = 0.9
VECTOR = b'{"key":"'
NEXT_TOKEN, LONGEST_TOKEN = re.compile(rb'"nextToken":"([^"]*)"}\Z'), 4_096


class ListedRows(ScriptError):
    """A listing did not have every vector once."""


class Reading(Struct, frozen=True):
    seconds: float
    busy: float
    """Share of all cores."""
    shares: dict[str, float]
    """Of the processor time, by whom."""


def listing(run: Run) -> None:
    index, cores = run.index, os.cpu_count() or 1
    rounds = [
        (_read(run, index, 1), _read(run, index, SEGMENTS), _text_in_postgres(run, index, cores))
        for _ in range(min(MOST_ROUNDS, run.options.rounds))
    ]
    sequential = median(one.seconds for one, _, _ in rounds)
    parallel = sorted((many for _, many, _ in rounds), key=lambda many: many.seconds)[len(rounds) // 2]
    alone = median(seconds for _, _, seconds in rounds)
    rows = len(index.dataset)
    run.figure("one sequential reader", rows / sequential, "vectors/s", note=f"{sequential:.2f} s")
    run.figure(
        f"{SEGMENTS} segments in parallel", rows / parallel.seconds, "vectors/s", note=f"{parallel.seconds:.2f} s"
    )
    shares = ", ".join(f"{who} {share:.0%}" for who, share in parallel.shares.items())
    run.figure("cores busy meanwhile", parallel.busy * 100, "%", note=f"of it {shares}")
    run.figure(f"text in PostgreSQL alone, {cores} connections", alone, "s", note=f"{rows / alone:,.0f} vectors/s")
    limit = f"all {cores} cores are busy" if parallel.busy >= BUSY else ""
    speed_up = median(one.seconds / many.seconds for one, many, _ in rounds)
    run.figure("segments, to one reader", speed_up, "x", SEGMENTS_TO_SEQUENTIAL, limit=limit)


def _read(run: Run, index: VectorIndex, segments: int) -> Reading:
    meter = Meter(run.deployment)
    with run.steps.step(f"listing in {segments} segment(s)", len(index.dataset)) as step:
        jobs: list[Job[int]] = [_reader(index, segment, segments, step.advance) for segment in range(segments)]
        with meter:
            idle, started = idle_seconds(), time.perf_counter()
            counts, _ = side_by_side(jobs)
            idle, seconds = idle_seconds() - idle, time.perf_counter() - started
    if sum(counts) != len(index.dataset):
        raise ListedRows(f"{segments} segment(s) listed {sum(counts)} of {len(index.dataset)} vectors.")
    used = sum(meter.seconds.values())
    shares = {who: share / used for who, share in meter.seconds.items()}
    return Reading(seconds, 1 - idle / (seconds * (os.cpu_count() or 1)), shares)


def _reader(index: VectorIndex, segment: int, segments: int, advance: Callable[[float], None]) -> Job[int]:
    members: dict[str, Any] = {"segmentIndex": segment, "segmentCount": segments} if segments > 1 else {}

    def read(stopping: Event) -> int:
        count = 0
        token: dict[str, str] = {}
        with closing(index.api.connect()) as connection:
            while not stopping.is_set():
                request = index.request(
                    "ListVectors", maxResults=PAGE, returnData=True, returnMetadata=True, **members, **token
                )
                page = connection.exchange(request)
                vectors = page.count(VECTOR)
                count += vectors
                advance(vectors)
                if not (next_token := NEXT_TOKEN.search(page, max(0, len(page) - LONGEST_TOKEN))):
                    break
                token = {"nextToken": next_token[1].decode()}
        return count

    return read


def _text_in_postgres(run: Run, index: VectorIndex, connections: int) -> float:
    def write(part: int) -> Job[None]:
        def written(_: Event) -> None:
            with run.deployment.connect() as connection:
                connection.execute(_TEXT.format(table=index.table), {"part": part, "parts": connections})

        return written

    with run.steps.step(f"text in PostgreSQL alone, {connections} connections"):
        started = time.perf_counter()
        side_by_side([write(part) for part in range(connections)])
        return time.perf_counter() - started


_TEXT = """
SELECT sum(length(key) + length(embedding::text) + length((metadata || non_filterable_metadata)::text))
FROM {table} WHERE abs(hashtextextended(key, 0) %% %(parts)s) = %(part)s
"""
