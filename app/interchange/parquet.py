"""Parquet: a column of keys, one of lists of numbers, and one of metadata, as JSON text or as a struct."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct

from app.interchange.batches import Batch, InvalidSource, MissingPackage, rows_at_a_time
from app.interchange.sinks import DESCRIPTION, Description
from app.vector_data import Float32Matrix, Float32Vector

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
except ImportError:
    raise MissingPackage("Parquet needs pyarrow: pip install 'pgs3vectors[import]'.") from None

# Column chunks are read as they are needed, not a whole row group at once.
BUFFER_BYTES = 1024 * 1024


class Columns(Struct, frozen=True):
    """Their names in the file; metadata may be missing, unless its column has been named."""

    key: str = "key"
    vector: str = "vector"
    metadata: str | None = None

    DEFAULT_METADATA = "metadata"


class ParquetSource:
    unit = "rows"

    def __init__(self, path: Path, columns: Columns) -> None:
        self.name = str(path)
        self._path = path
        with self._open() as file:
            schema = file.schema_arrow
            self.total = file.metadata.num_rows
        self.description = description_in(schema)
        self._key = self._column(schema, columns.key, "--key-column", is_key, "text or integers")
        self._vector = self._column(schema, columns.vector, "--vector-column", is_vector, "lists of numbers")
        self._metadata = None
        if columns.metadata is not None or Columns.DEFAULT_METADATA in schema.names:
            name = columns.metadata or Columns.DEFAULT_METADATA
            self._metadata = self._column(schema, name, "--metadata-column", is_metadata, "JSON text or structs")

    def batches(self, after: int = 0) -> Iterator[Batch]:
        try:
            with self._open() as file:
                yield from self._batches(file, after)
        except (OSError, pa.ArrowException) as error:
            raise InvalidSource(f"{self.name} cannot be read: {error}") from error

    def _batches(self, file: pq.ParquetFile, after: int) -> Iterator[Batch]:
        groups, first = list(range(file.num_row_groups)), 0
        while groups and first + file.metadata.row_group(groups[0]).num_rows <= after:
            first += file.metadata.row_group(groups.pop(0)).num_rows
        columns = [name for name in (self._key, self._vector, self._metadata) if name is not None]
        read = file.iter_batches(rows_at_a_time(_list_size(file, self._vector)), row_groups=groups, columns=columns)
        for rows in read:
            known = max(0, after - first)
            if known < len(rows):
                yield self._batch(rows.slice(known), first + known + 1)
            first += len(rows)

    def _batch(self, rows: pa.RecordBatch, first_row: int) -> Batch:
        return Batch(
            first_row=first_row,
            keys=texts(rows.column(self._key)),
            vectors=vectors(rows.column(self._vector)),
            metadata=[None] * len(rows) if self._metadata is None else documents(rows.column(self._metadata)),
            size=len(rows),
        )

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self._path, buffer_size=BUFFER_BYTES, pre_buffer=False)
        except (OSError, pa.ArrowException) as error:
            raise InvalidSource(f"{self.name} cannot be read as Parquet: {error}") from error

    def _column(self, schema: pa.Schema, name: str, option: str, fits: Any, wanted: str) -> str:
        found = ", ".join(schema.names) or "none"
        if name not in schema.names:
            raise InvalidSource(f"{self.name} has no column {name}; its columns are {found}. Name one with {option}.")
        if not fits(type_of(schema.field(name).type)):
            raise InvalidSource(f"{self.name}: column {name} is {schema.field(name).type}, where {wanted} are needed.")
        return name


def description_in(schema: pa.Schema) -> Description | None:
    try:
        return msgspec.json.decode((schema.metadata or {}).get(DESCRIPTION, b""), type=Description)
    except msgspec.DecodeError:
        return None


def type_of(kind: pa.DataType) -> pa.DataType:
    """Tensors are lists with a name."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_key(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return is_key(kind.value_type)
    return is_text(kind) or pa.types.is_integer(kind)


def is_vector(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def is_metadata(kind: pa.DataType) -> bool:
    return is_text(kind) or pa.types.is_struct(kind)


def texts(column: pa.Array) -> list[Any]:
    """Bytes where they are no UTF-8: whoever checks them has the words for it."""
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        return list(column.cast(pa.large_binary()).to_pylist())
    return [str(value) if type(value) is int else value for value in values]


def documents(column: pa.Array) -> list[Any]:
    """Whatever the members of a struct are called, a null is a member that is not there."""
    if not pa.types.is_struct(column.type):
        return texts(column)
    return [None if row is None else {k: v for k, v in row.items() if v is not None} for row in column.to_pylist()]


def vectors(column: pa.Array) -> Float32Matrix | list[Any]:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    lengths = pc.min_max(pc.list_value_length(column)).as_py()
    if column.null_count == 0 and lengths["min"] == lengths["max"]:
        return floats(column.flatten()).reshape(len(column), lengths["min"])
    return [None if not item.is_valid else floats(item.values) for item in column]


def floats(numbers: pa.Array) -> Float32Vector:
    """As PutVectors would round them: a null is no number, and what is too large for float32 is infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(numbers.to_numpy(zero_copy_only=False)).astype(np.float32)


def _list_size(file: pq.ParquetFile, vector: str) -> int:
    """By the first vector, if the type does not say it."""
    kind = type_of(file.schema_arrow.field(vector).type)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for rows in file.iter_batches(1, columns=[vector]):
        return int(pc.list_value_length(rows.column(vector))[0].as_py() or 0)
    return 0
