"""What every source of vectors gives, some rows at a time; nothing of it has been checked."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from app.interchange.sinks import Description
from app.vector_data import Float32Matrix

MAX_ROWS = 2_000
MAX_BYTES = 8 * 1024 * 1024


class InvalidSource(Exception):
    """It cannot be read at all, or is not of the form that was expected; the text names it."""


class MissingPackage(Exception):
    """An optional dependency; the text says how to install it."""


class Batch(Struct, frozen=True):
    first_row: int
    """Its number in the source, counted from one."""
    keys: Sequence[Any]
    vectors: Float32Matrix | list[Any]
    """A matrix of float32, where all are there and of one length."""
    metadata: Sequence[Any]
    """JSON text, an object, or None for none."""
    size: int
    """In the unit of the source's total."""
    unreadable: Mapping[int, str] = {}
    """Reasons, by the place of the row in this batch; there its columns say nothing."""

    @property
    def end_row(self) -> int:
        """One behind the last."""
        return self.first_row + len(self.keys)


class Source(Protocol):
    name: str
    total: int
    """Rows, or bytes where nobody knows how many rows there are."""
    unit: str
    description: Description | None
    """Of the index that it was exported from."""

    def batches(self, after: int = 0) -> Iterator[Batch]:
        """Behind so many rows, in an order that is the same each time; raises InvalidSource."""


def rows_at_a_time(dimension: int) -> int:
    """So that a batch is some megabytes, whatever it is of."""
    return max(1, min(MAX_ROWS, MAX_BYTES // (4 * max(1, dimension))))
