"""An index of the server with the data set that is in it, and the requests that ask about it."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Event, Lock
from typing import Any

import msgspec
import psycopg
from msgspec import Struct
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg.types.json import Jsonb

from scripts.benchmarks.datasets import Dataset
from scripts.benchmarks.ground_truth import Found
from scripts.benchmarks.predicates import Condition
from scripts.testbed.api import Api, Body, Connection
from scripts.testbed.progress import Steps
from scripts.testbed.side_by_side import Job, side_by_side

BUCKET = "bench"
LOADING_CLIENTS = 2


class QueryOutput(Struct):
    vectors: list[Found]


class HttpSearch:
    """A client with a connection of its own and signed requests."""

    def __init__(self, connection: Connection, requests: list[bytes]) -> None:
        self._connection = connection
        self._requests = requests

    def ask(self, query: int) -> Body:
        return self._connection.exchange(self._requests[query])

    def found(self, answer: Body) -> list[Found]:
        return msgspec.json.decode(answer, type=QueryOutput).vectors

    def close(self) -> None:
        self._connection.close()


class VectorIndex:
    """`dataset` is what is stored, also after an upsert has replaced it."""

    def __init__(self, api: Api, name: str, dataset: Dataset, table: str) -> None:
        self.api = api
        self.name = name
        self.dataset = dataset
        self.table = table

    @property
    def members(self) -> dict[str, str]:
        return {"vectorBucketName": BUCKET, "indexName": self.name}

    def request(self, operation: str, **members: Any) -> bytes:
        return self.api.request(operation, msgspec.json.encode(self.members | members))

    def put(self, rows: slice) -> bytes:
        data = self.dataset
        vectors = [
            {"key": data.keys[row], "data": {"float32": data.vectors[row].tolist()}, "metadata": data.metadata[row]}
            for row in range(rows.start, rows.stop)
        ]
        return self.request("PutVectors", vectors=vectors)

    def query(self, query: int, top_k: int, condition: Condition | None = None, *, metadata: bool = False) -> bytes:
        members: dict[str, Any] = {"returnMetadata": True} if metadata else {}
        if condition is not None:
            members["filter"] = condition
        vector = self.dataset.queries[query].tolist()
        return self.request("QueryVectors", topK=top_k, queryVector={"float32": vector}, returnDistance=True, **members)

    def queries(self, top_k: int, *, first: int | None = None, metadata: bool = False) -> list[bytes]:
        asked = range(len(self.dataset.queries))[:first]
        return [self.query(query, top_k, metadata=metadata) for query in asked]

    def searching(self, requests: list[bytes]) -> Callable[[], HttpSearch]:
        return lambda: HttpSearch(self.api.connect(), requests)


def create_index(  # noqa: PLR0913 - what CreateIndex takes, and where
    api: Api,
    connection: psycopg.Connection,
    name: str,
    dataset: Dataset,
    non_filterable: tuple[str, ...] = (),
    *,
    searchable: tuple[dict[str, str], ...] = (),
) -> VectorIndex:
    if not api.call("ListVectorBuckets")["vectorBuckets"]:
        api.call("CreateVectorBucket", vectorBucketName=BUCKET)
    configuration = {"nonFilterableMetadataKeys": list(non_filterable), "textSearchConfigurations": list(searchable)}
    api.call(
        "CreateIndex",
        vectorBucketName=BUCKET,
        indexName=name,
        dataType="float32",
        dimension=dataset.dimension,
        distanceMetric=dataset.metric,
        metadataConfiguration={name: given for name, given in configuration.items() if given} or None,
    )
    row = connection.execute("SELECT id FROM s3_vectors.vector_indexes WHERE index_name = %s", [name]).fetchone()
    assert row is not None  # noqa: S101 - it has just been created
    return VectorIndex(api, name, dataset, f"vectors.index_{row[0]}")


def fill(index: VectorIndex, steps: Steps) -> float:
    """Vectors per second, with requests made and signed while the clock runs: for what only has to be there."""
    batches = index.dataset.batches()
    lock = Lock()
    started = time.perf_counter()
    with steps.step(f"putting {len(index.dataset):,} vectors into {index.name}", len(index.dataset)) as step:

        def load(stopping: Event) -> None:
            with closing(index.api.connect()) as connection:
                while not stopping.is_set() and (rows := _next(batches, lock)):
                    connection.exchange(index.put(rows))
                    step.advance(rows.stop - rows.start)

        jobs: list[Job[None]] = [load] * LOADING_CLIENTS
        side_by_side(jobs)
    return len(index.dataset) / (time.perf_counter() - started)


def copy_in(connection: psycopg.Connection, index: VectorIndex, non_filterable: tuple[str, ...], steps: Steps) -> float:
    """Vectors per second, past the API, for what only has to be there."""
    register_vector(connection)
    data, started = index.dataset, time.perf_counter()
    columns = "key, embedding, metadata, non_filterable_metadata"
    with (
        steps.step(f"copying {len(data):,} vectors into {index.name}", len(data)) as step,
        connection.cursor() as cursor,
        cursor.copy(f"COPY {index.table} ({columns}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(["text", "vector", "jsonb", "jsonb"])
        for row, key in enumerate(data.keys):
            metadata = data.metadata[row]
            parts = [{k: v for k, v in metadata.items() if (k in non_filterable) is rest} for rest in (False, True)]
            copy.write_row((key, Vector(data.vectors[row]), *map(Jsonb, parts)))
            step.advance()
    return len(data) / (time.perf_counter() - started)


def _next(batches: Iterator[slice], lock: Lock) -> slice | None:
    with lock:
        return next(batches, None)
