"""An index of more vectors than are measured one by one, for which the server works in the background."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import psycopg

from scripts.fault_injection.callers import BUCKET
from scripts.fault_injection.cluster import Cluster
from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.load import called, create_index
from scripts.fault_injection.trial import Trial

LARGE = "large"
NAMES = {"vectorBucketName": BUCKET, "indexName": LARGE}
DIMENSION, VECTORS, A_REQUEST = 2_048, 2_500, 500
QUERIES = 20

BreakOff = Callable[[Cluster, Sequence[int]], None]
"""Of the backends with these process ids."""


def broken_off(deployment: Deployment, backends: str, break_off: BreakOff, within: float) -> bool:
    """Whether there were such backends in time; they are broken off as soon as they are seen."""

    def seen() -> bool:
        if pids := [row[0] for row in rows(deployment, backends)]:
            break_off(deployment.cluster, pids)
        return bool(pids)

    return until(seen, within)


def fill(deployment: Deployment) -> None:
    create_index(deployment.api, LARGE, DIMENSION)
    for first in range(0, VECTORS, A_REQUEST):
        vectors = [{"key": str(row), "data": _data(row)} for row in range(first, first + A_REQUEST)]
        deployment.api.call("PutVectors", **NAMES, vectors=vectors)


def _data(row: int) -> dict[str, Any]:
    """Corners of a cube, so that any two are far from each other."""
    return {"float32": [float(bit) for bit in f"{Random(row).getrandbits(DIMENSION):0{DIMENSION}b}"]}  # noqa: S311 - no secret


def rows(deployment: Deployment, query: str) -> list[Any]:
    """None while PostgreSQL restarts."""
    with suppress(psycopg.OperationalError), deployment.cluster.connect() as connection:
        return connection.execute(query.encode()).fetchall()
    return []


def graphs(deployment: Deployment, *, valid: bool) -> int:
    query = (
        "SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam"
        f" WHERE amname = 'hnsw' AND indisvalid = {valid}"
    )
    return len(rows(deployment, query))


def judge_searches(trial: Trial, deployment: Deployment, judge: str) -> None:
    """Each finds the vector that it asks with, at distance 0."""
    missed = []
    for row in trial.random.sample(range(VECTORS), QUERIES):
        asked = NAMES | {"topK": 1, "queryVector": _data(row), "returnDistance": True}
        found = called(deployment.api, "QueryVectors", asked)["vectors"]
        if [(vector["key"], vector["distance"]) for vector in found] != [(str(row), 0)]:
            missed.append(found)
    trial.judge(judge, not missed, f"{len(missed)} of {QUERIES} missed")
