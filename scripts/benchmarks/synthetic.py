"""Clustered vectors of any number and dimension, the same for the same seed, made in blocks.

Embeddings lie near a surface of few dimensions, whatever the length of their vectors: clusters are drawn in a latent
space and projected.  Noise in all dimensions alone would make all vectors of a cluster equally near, which no graph and
no user has to do with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from scripts.benchmarks.datasets import Dataset, Metadata, Metric, Vectors
from scripts.testbed.progress import Steps

LATENT_DIMENSIONS = 24
CLUSTERS = 200
SPREAD = 0.6  # of a cluster, where clusters themselves are spread by 1
NOISE = 0.02
BLOCK = 10_000
QUERIES = 500

# What a seed is mixed with, so that one stream of numbers does not depend on how much another has used.
_SHAPE, _ROWS, _QUERIES, _METADATA = range(4)

# Share of rows that have each tag.
TAGS = {"rare": 0.0005, "some": 0.01, "many": 0.1, "half": 0.5, "usual": 0.99}


class Clusters(Struct, frozen=True):
    seed: int
    centers: npt.NDArray[np.float64]
    projection: npt.NDArray[np.float64]

    def draw(self, stream: int, block: int, count: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """Vectors, and which cluster each is of."""
        random = np.random.default_rng([self.seed, stream, block])
        clusters = random.integers(len(self.centers), size=count)
        latent = self.centers[clusters] + SPREAD * random.standard_normal((count, LATENT_DIMENSIONS))
        noise = NOISE * random.standard_normal((count, self.projection.shape[1]))
        return (latent @ self.projection + noise).astype(np.float32), clusters


def clusters(seed: int, dimension: int) -> Clusters:
    random = np.random.default_rng([seed, _SHAPE])
    centers = random.standard_normal((CLUSTERS, LATENT_DIMENSIONS))
    projection = random.standard_normal((LATENT_DIMENSIONS, dimension)) / np.sqrt(dimension)
    return Clusters(seed, centers, projection)


class SyntheticMetadata(Sequence[Metadata]):
    """Made when it is asked for: a million dictionaries would be most of the benchmark's memory."""

    def __init__(self, columns: dict[str, npt.NDArray[Any]], tags: dict[str, npt.NDArray[np.bool_]]) -> None:
        self._columns = columns
        self._tags = tags

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    @overload
    def __getitem__(self, place: int) -> Metadata: ...
    @overload
    def __getitem__(self, place: slice) -> "SyntheticMetadata": ...
    def __getitem__(self, place: int | slice) -> "Metadata | SyntheticMetadata":
        if isinstance(place, slice):
            columns = {name: column[place] for name, column in self._columns.items()}
            return SyntheticMetadata(columns, {name: tag[place] for name, tag in self._tags.items()})
        if not 0 <= place < len(self):
            raise IndexError(place)
        document: Metadata = {name: column[place].item() for name, column in self._columns.items()}
        document["tenant"] = f"tenant-{document['tenant']:04}"
        document["side"] = "left" if document["side"] else "right"
        document["shelf"] = f"shelf-{document['shelf']}"
        document["topic"] = f"topic-{document['topic']}"
        document["text"] = f"Number {place} on {document['shelf']}, of {document['tenant']}, about {document['topic']}"
        tags = [name for name, tagged in self._tags.items() if tagged[place]]
        return document | ({"tags": tags} if tags else {})


def synthetic_dataset(  # noqa: PLR0913 - what describes it
    rows: int, dimension: int, metric: Metric, *, seed: int, folder: Path, steps: Steps
) -> Dataset:
    """The vectors lie in a file of the folder, which the kernel keeps in memory as long as there is some."""
    shape = clusters(seed, dimension)
    file = folder / f"vectors-{rows}x{dimension}-{seed}.float32"
    vectors = np.memmap(file, dtype=np.float32, mode="w+", shape=(rows, dimension))
    topics = np.empty(rows, dtype=np.int64)
    with steps.step(f"making {rows:,} vectors of {dimension} dimensions", rows) as step:
        for block, first in enumerate(range(0, rows, BLOCK)):
            count = min(BLOCK, rows - first)
            vectors[first : first + count], topics[first : first + count] = shape.draw(_ROWS, block, count)
            step.advance(count)
    queries, _ = shape.draw(_QUERIES, 0, QUERIES)
    return Dataset(
        "synthetic",
        metric,
        keys=[f"row-{row:08}" for row in range(rows)],
        vectors=vectors,
        metadata=_metadata(seed, topics),
        queries=queries,
    )


def _metadata(seed: int, topics: npt.NDArray[np.int64]) -> SyntheticMetadata:
    """Independent of the vectors, but for the topic, which is the cluster."""
    rows = len(topics)
    random = np.random.default_rng([seed, _METADATA])
    columns: dict[str, npt.NDArray[Any]] = {
        "tenant": random.integers(2_000, size=rows, dtype=np.uint16),
        "shelf": random.integers(10, size=rows, dtype=np.uint8),
        "side": random.random(rows) < 0.5,
        "topic": topics.astype(np.uint16),
        "public": random.random(rows) < 0.99,
        "number": random.integers(1_000_000, size=rows, dtype=np.uint32),
        "price": np.round(random.lognormal(3, 1, rows), 2),
    }
    return SyntheticMetadata(columns, {name: random.random(rows) < share for name, share in TAGS.items()})
