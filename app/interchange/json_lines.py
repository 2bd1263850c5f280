"""JSON lines: on each a vector as PutVectors takes it and ListVectors gives it.

{"key": "alien", "data": {"float32": [0.1, 0.9]}, "metadata": {"year": 1979}}
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from app.interchange.batches import MAX_BYTES, MAX_ROWS, Batch, InvalidSource
from app.interchange.sinks import Description
from app.limits import MAX_REQUEST_BODY_BYTES
from app.shapes import VectorData

SUFFIXES = ".jsonl", ".ndjson"


class Line(Struct, frozen=True, gc=False):
    key: Any = None
    data: VectorData | None = None
    metadata: msgspec.Raw = msgspec.Raw(b"null")


class JsonLinesSource:
    unit = "bytes"
    description: Description | None = None

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        try:
            self.total = path.stat().st_size
        except OSError as error:
            raise self._unreadable(error) from error

    def batches(self, after: int = 0) -> Iterator[Batch]:
        try:
            yield from self._batches(after)
        except OSError as error:
            raise self._unreadable(error) from error

    def _batches(self, after: int) -> Iterator[Batch]:
        """What is passed over at the beginning counts with the first batch."""
        lines: list[bytes] = []
        passed, size = 0, 0
        for number, line in enumerate(self._lines(), 1):
            if number <= after:
                passed += len(line)
                continue
            lines.append(line)
            size += len(line)
            if len(lines) == MAX_ROWS or size >= MAX_BYTES:
                yield batch(lines, number + 1 - len(lines), passed + size)
                lines, passed, size = [], 0, 0
        if lines:
            yield batch(lines, number + 1 - len(lines), passed + size)

    def _lines(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while line := file.readline(MAX_REQUEST_BODY_BYTES + 1):
                if len(line) > MAX_REQUEST_BODY_BYTES:
                    raise InvalidSource(f"{self.name} has a line of more than {MAX_REQUEST_BODY_BYTES} bytes.")
                yield line

    def _unreadable(self, error: OSError) -> InvalidSource:
        return InvalidSource(f"{self.name} cannot be read: {error.strerror}.")


_decode = msgspec.json.Decoder(Line).decode


def batch(lines: list[bytes], first_row: int, size: int) -> Batch:
    """Rows are lines, empty ones too."""
    unreadable: dict[int, str] = {}
    records: list[Line] = []
    for place, line in enumerate(lines):
        record = Line()
        try:
            record = _decode(line)
        except (ValueError, RecursionError) as error:
            unreadable[place] = f"The line is not a JSON object as of PutVectors: {error}"
        records.append(record)
    return Batch(
        first_row=first_row,
        keys=[record.key for record in records],
        vectors=[None if record.data is None else record.data.float32.to_numpy() for record in records],
        metadata=[record.metadata for record in records],
        size=size,
        unreadable=unreadable,
    )
