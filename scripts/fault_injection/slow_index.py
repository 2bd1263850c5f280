"""An index of two vectors which is locked when something has to take long, and what is asked of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scripts.fault_injection.callers import BUCKET
from scripts.fault_injection.deployment import Deployment
from scripts.fault_injection.load import create_index
from scripts.fault_injection.trial import Trial

SLOW = "slow"
NAMES = {"vectorBucketName": BUCKET, "indexName": SLOW}
KEYS = ("a", "b")


@contextmanager
def slow_index(trial: Trial, postgres: dict[str, str] | None = None, **settings: str) -> Iterator[Deployment]:
    with trial.deployed(settings, postgres=postgres) as deployment:
        create_index(deployment.api, SLOW, 2)
        deployment.api.call("PutVectors", **put(0))
        yield deployment


def put(_: int) -> dict[str, Any]:
    return NAMES | {"vectors": [{"key": key, "data": {"float32": [1, 2]}} for key in KEYS]}


def query(_: int) -> dict[str, Any]:
    return NAMES | {"topK": 1, "queryVector": {"float32": [1, 2]}}
