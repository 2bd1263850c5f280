"""The build of an HNSW graph breaks off; searches stay exact meanwhile, and the graph is built again."""

import os
import signal
from collections.abc import Callable
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
# More than are searched exactly, so that a graph is built.
DIMENSION, VECTORS, A_REQUEST = 2_048, 2_500, 500
BUILD_SECONDS, AGAIN_SECONDS, DATABASE_SECONDS = 60, 120, 15
QUERIES = 20


def build_terminated(trial: Trial) -> None:
    """The builder's connection is ended by pg_terminate_backend."""

    def terminate(cluster: Cluster, builder: int) -> None:
        with cluster.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [builder])

    _break_build(trial, terminate)


def build_killed(trial: Trial) -> None:
    """The builder's backend gets kill -9, as from the out-of-memory killer; PostgreSQL restarts itself."""

    def kill(_: Cluster, builder: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(builder, signal.SIGKILL)

    _break_build(trial, kill)


def _break_build(trial: Trial, break_off: Callable[[Cluster, int], None]) -> None:
    with trial.deployed() as deployment:
        _fill(deployment)
        with trial.load(deployment.api) as load:
            for _ in trial.times(2, 1):
                started = until(lambda: _builders(deployment) != [], BUILD_SECONDS)
                for builder in _builders(deployment):
                    break_off(deployment.cluster, builder)
                broken = until(lambda: _graphs(deployment, valid=False) > 0 or _failed(deployment), BUILD_SECONDS)
                trial.judge("a build is broken off, or this would prove nothing", started and broken)
                trial.recovers(load, DATABASE_SECONDS)
                _judge_searches(trial, deployment, "searches stay exact")
            built = until(lambda: _graphs(deployment, valid=True) > 0, AGAIN_SECONDS)
            trial.judge(f"the graph is built again within {AGAIN_SECONDS} s", built)
            _judge_searches(trial, deployment, "every vector is found by the graph")
        trial.judge_leaks(deployment.cluster)


def _fill(deployment: Deployment) -> None:
    create_index(deployment.api, LARGE, DIMENSION)
    for first in range(0, VECTORS, A_REQUEST):
        vectors = [{"key": str(row), "data": _data(row)} for row in range(first, first + A_REQUEST)]
        deployment.api.call("PutVectors", **NAMES, vectors=vectors)


def _data(row: int) -> dict[str, Any]:
    """Corners of a cube, so that any two are far from each other."""
    return {"float32": [float(bit) for bit in f"{Random(row).getrandbits(DIMENSION):0{DIMENSION}b}"]}  # noqa: S311 - no secret


def _builders(deployment: Deployment) -> list[int]:
    return [row[0] for row in _rows(deployment, "SELECT pid FROM pg_stat_progress_create_index")]


def _graphs(deployment: Deployment, *, valid: bool) -> int:
    graphs = (
        "SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam"
        f" WHERE amname = 'hnsw' AND indisvalid = {valid}"
    )
    return len(_rows(deployment, graphs))


def _failed(deployment: Deployment) -> bool:
    return _rows(deployment, "SELECT FROM s3_vectors.hnsw_graphs WHERE state = 'failed'") != []


def _rows(deployment: Deployment, query: str) -> list[Any]:
    """None while PostgreSQL restarts."""
    with suppress(psycopg.OperationalError), deployment.cluster.connect() as connection:
        return connection.execute(query.encode()).fetchall()
    return []


def _judge_searches(trial: Trial, deployment: Deployment, judge: str) -> None:
    """Each finds the vector that it asks with, at distance 0."""
    missed = []
    for row in trial.random.sample(range(VECTORS), QUERIES):
        asked = NAMES | {"topK": 1, "queryVector": _data(row), "returnDistance": True}
        found = called(deployment.api, "QueryVectors", asked)["vectors"]
        if [(vector["key"], vector["distance"]) for vector in found] != [(str(row), 0)]:
            missed.append(found)
    trial.judge(judge, not missed, f"{len(missed)} of {QUERIES} missed")
