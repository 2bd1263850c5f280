"""Files of each form with the same rows, and rows that break a rule."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

Vectors = Sequence[Sequence[float] | None]


class Rows(Struct):
    keys: list[Any]
    vectors: Any
    metadata: list[Any]
    """JSON text, or None."""

    def replaced(self, row: int, **columns: Any) -> "Rows":
        """Rows count from one."""
        changed = {name: list(getattr(self, name)) for name in self.__struct_fields__}
        for name, value in columns.items():
            changed[name][row - 1] = value
        return Rows(**changed)


def rows(number: int, dimension: int = 4, first: int = 0) -> Rows:
    vectors = np.random.default_rng(first).normal(size=(number, dimension)).astype(np.float16)
    metadata = [json.dumps({"n": i, "text": f"number {i}"}) for i in range(first, first + number)]
    return Rows([f"k{i:06}" for i in range(first, first + number)], vectors.tolist(), metadata)


def write_parquet(path: Path, rows: Rows, vector: pa.DataType | None = None, row_group_size: int | None = None) -> Path:
    columns = {
        "key": pa.array(rows.keys, type=pa.string()),
        "vector": pa.array(rows.vectors, type=vector or pa.list_(pa.float32())),
        "metadata": pa.array(rows.metadata, type=pa.string()),
    }
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path


def write_json_lines(path: Path, rows: Rows) -> Path:
    with path.open("w") as file:
        for key, vector, metadata in zip(rows.keys, rows.vectors, rows.metadata, strict=True):
            data = "null" if vector is None else json.dumps({"float32": vector})
            file.write(f'{{"key": {json.dumps(key)}, "data": {data}, "metadata": {metadata or "null"}}}\n')
    return path


def write_npz(path: Path, rows: Rows) -> Path:
    metadata = [(text or "").encode() for text in rows.metadata]
    np.savez(path, keys=rows.keys, vectors=np.array(rows.vectors, np.float32), metadata=metadata)
    return path
