"""Parquet with the columns that `parquet` reads by default, and the description of the index beside them."""

from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np

from app.interchange.batches import MissingPackage
from app.interchange.sinks import DESCRIPTION, Description, Rows

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    raise MissingPackage("Parquet needs pyarrow: pip install 'pgs3vectors[import]'.") from None

ROW_GROUP_BYTES = 64 * 1024 * 1024


class ParquetSink:
    takes_text: ClassVar[bool] = False

    def __init__(self, path: Path, description: Description) -> None:
        self._dimension = description.dimension
        self._schema = pa.schema(
            [
                pa.field("key", pa.string(), nullable=False),
                pa.field("vector", pa.list_(pa.field("element", pa.float32(), nullable=False), self._dimension)),
                pa.field("metadata", pa.string(), nullable=False),
            ],
            metadata={DESCRIPTION: msgspec.json.encode(description)},
        )
        # Hardly a number of embeddings comes twice: a dictionary of them would only be given up later.
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", use_dictionary=False)
        self._waiting: list[pa.RecordBatch] = []

    def write(self, rows: Rows) -> None:
        numbers = pa.array(np.ascontiguousarray(rows.vectors, np.float32).ravel())
        vectors = pa.FixedSizeListArray.from_arrays(numbers, type=self._schema.field("vector").type)
        metadata = pa.array([bytes(text).decode() for text in rows.metadata], pa.string())
        columns = [pa.array(rows.keys, pa.string()), vectors, metadata]
        self._waiting.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        if sum(batch.nbytes for batch in self._waiting) >= ROW_GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        if self._waiting:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        group = pa.Table.from_batches(self._waiting)
        self._writer.write_table(group, row_group_size=group.num_rows)
        self._waiting = []
