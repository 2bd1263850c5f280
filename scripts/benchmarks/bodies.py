"""Requests of PutVectors as large as a request may be, and the index that they go to."""

import msgspec
import numpy as np

from app.limits import MAX_REQUEST_BODY_BYTES
from scripts.benchmarks.datasets import Dataset
from scripts.benchmarks.run import Run
from scripts.benchmarks.vector_index import BUCKET
from scripts.testbed.api import Api

INDEX = "big-bodies"
DIMENSION, VECTORS = 4_096, 500
DIGITS = 7  # with which so many numbers fill such a body


def create_index_for_bodies(run: Run) -> None:
    """Once; what is in it does not matter."""
    api = run.deployment.server.api
    buckets = api.call("ListVectorBuckets")["vectorBuckets"]
    indexes = api.call("ListIndexes", vectorBucketName=BUCKET)["indexes"] if buckets else []
    if INDEX not in {index["indexName"] for index in indexes}:
        none = np.empty((0, DIMENSION), np.float32)
        run.new_index(INDEX, Dataset(INDEX, "cosine", keys=[], vectors=none, metadata=[], queries=none))


def big_put(api: Api, sender: int, seed: int) -> bytes:
    """Of exactly as many bytes as a body may have, the last of them white space.  Each sender has keys of its own."""
    numbers = np.random.default_rng([seed, sender]).random((VECTORS, DIMENSION)).round(DIGITS)
    vectors = [{"key": f"{sender}-{row}", "data": {"float32": vector.tolist()}} for row, vector in enumerate(numbers)]
    body = msgspec.json.encode({"vectorBucketName": BUCKET, "indexName": INDEX, "vectors": vectors})
    return api.request("PutVectors", body.ljust(MAX_REQUEST_BODY_BYTES))
