"""Vectors with keys and metadata, and the queries that are asked about them: from Parquet files, or made."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scripts.testbed.errors import ScriptError

Metric = Literal["cosine", "euclidean"]
Vectors = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Metadata = dict[str, Any]

SAMPLE = Path(__file__).parents[1] / "sample"
SAMPLE_ROWS, SAMPLE_QUERIES = SAMPLE / "debian-packages.parquet", SAMPLE / "queries.parquet"

MAX_BATCH = 500  # what PutVectors takes
MAX_BATCH_NUMBERS = 800_000  # 17 MB of JSON, in a body of at most 20 MiB


class InvalidDataset(ScriptError):
    """A file that is not as the options describe it."""


class Dataset:
    def __init__(  # noqa: PLR0913 - these are what a data set is
        self,
        name: str,
        metric: Metric,
        *,
        keys: Sequence[str],
        vectors: Vectors,
        metadata: Sequence[Metadata],
        queries: Vectors,
        query_texts: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.metric = metric
        self.keys = keys
        self.vectors = vectors
        self.metadata = metadata
        self.queries = queries
        self.query_texts = query_texts
        """What the queries were before they were vectors, where that is known."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    @cached_property
    def rows(self) -> dict[str, int]:
        """Of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    def batches(self) -> Iterator[slice]:
        """Rows for one PutVectors each."""
        size = max(1, min(MAX_BATCH, MAX_BATCH_NUMBERS // self.dimension))
        for first, end in pairwise([*range(0, len(self), size), len(self)]):
            yield slice(first, end)

    def first(self, rows: int) -> "Dataset":
        return Dataset(
            self.name,
            self.metric,
            keys=self.keys[:rows],
            vectors=self.vectors[:rows],
            metadata=self.metadata[:rows],
            queries=self.queries,
            query_texts=self.query_texts,
        )

    def with_vectors_moved(self) -> "Dataset":
        """Each key has the vector of the next, so that what is stored changes and what is near a query does not."""
        return Dataset(
            self.name,
            self.metric,
            keys=self.keys,
            vectors=np.roll(self.vectors, -1, axis=0),
            metadata=self.metadata,
            queries=self.queries,
            query_texts=self.query_texts,
        )


def read_dataset(rows: Path, queries: Path, metric: Metric) -> Dataset:
    table = _read(rows, "key", "vector", "metadata")
    asked_table = _read(queries, "vector")
    vectors, asked = _vectors(table, rows), _vectors(asked_table, queries)
    if vectors.shape[1] != asked.shape[1]:
        raise InvalidDataset(f"{queries} has {asked.shape[1]} dimensions, {rows} has {vectors.shape[1]}.")
    metadata = [json.loads(text) for text in table["metadata"].to_pylist()]
    return Dataset(
        rows.stem,
        metric,
        keys=table["key"].to_pylist(),
        vectors=vectors,
        metadata=metadata,
        queries=asked,
        query_texts=asked_table["text"].to_pylist() if "text" in asked_table.column_names else (),
    )


def _read(file: Path, *columns: str) -> pa.Table:
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise InvalidDataset(f"{file} cannot be read: {error}") from error
    if missing := set(columns) - set(table.column_names):
        raise InvalidDataset(f"{file} has no column {', '.join(sorted(missing))}.")
    if not table.num_rows:
        raise InvalidDataset(f"{file} has no rows.")
    return table


def _vectors(table: pa.Table, file: Path) -> Vectors:
    """From lists of any floating numbers, all of one length."""
    column = table["vector"].combine_chunks()
    numbers: Vectors = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    dimension = len(numbers) // len(column)
    if column.null_count or any(len(vector) != dimension for vector in column):
        raise InvalidDataset(f"{file}: the vectors are not all of one length.")
    return numbers.reshape(len(column), dimension)
