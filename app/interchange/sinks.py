"""What every form of file that is written has in common."""

from typing import ClassVar, Protocol

from msgspec import Raw, Struct

from app.shapes import DistanceMetric
from app.vector_data import Float32Matrix

# Under which Parquet keeps the description of an index.
DESCRIPTION = b"s3vectors"


class Rows(Struct, frozen=True):
    keys: list[str]
    vectors: Float32Matrix | list[Raw]
    """JSON as the API gives it, where a sink takes text."""
    metadata: list[Raw]


class Description(Struct, frozen=True, rename="camel"):
    """Of the index, as GetIndex gives it: what a new one needs to be like it."""

    dimension: int
    distance_metric: DistanceMetric
    non_filterable_metadata_keys: list[str]


class Sink(Protocol):
    takes_text: ClassVar[bool]

    def write(self, rows: Rows) -> None: ...

    def close(self) -> None:
        """What has been written is whole then, and not before."""
